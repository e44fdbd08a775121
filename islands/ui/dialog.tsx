/// <reference lib="dom" />
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useLocale } from "../lib/context.tsx";
import { Icon } from "./elements.tsx";

interface DialogProps {
  title: string;
  /** For more than a few words; default false. */
  wide?: boolean;
  /** Called when it is closed, however. */
  onClose(): void;
  children: ComponentChildren;
}

/** A dialog of the browser's own: it keeps the focus inside and gives it back. */
export function Dialog({ title, wide = false, onClose, children }: DialogProps) {
  const { t } = useLocale();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    dialog.current?.showModal();
    return () => before?.focus();
  }, []);
  return (
    <dialog
      ref={dialog}
      class={wide ? "dialog wide" : "dialog"}
      aria-labelledby="dialog-title"
      onClose={onClose}
    >
      <div class="dialog-head">
        <h2 id="dialog-title">{title}</h2>
        <button
          type="button"
          class="button plain icon-only"
          aria-label={t("action.close")}
          onClick={() => dialog.current?.close()}
        >
          <Icon name="close" />
        </button>
      </div>
      {children}
    </dialog>
  );
}

interface ConfirmProps {
  title: string;
  text: string;
  action: string;
  busy: boolean;
  onConfirm(): void;
  onClose(): void;
}

/** Asks before something that cannot be taken back. */
export function Confirm({ title, text, action, busy, onConfirm, onClose }: ConfirmProps) {
  const { t } = useLocale();
  return (
    <Dialog title={title} onClose={onClose}>
      <p class="dialog-text">{text}</p>
      <div class="dialog-actions">
        <button type="button" class="button" onClick={onClose}>{t("action.keep")}</button>
        <button type="button" class="button danger" disabled={busy} onClick={onConfirm}>
          {action}
        </button>
      </div>
    </Dialog>
  );
}
