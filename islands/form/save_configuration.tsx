/// <reference lib="dom" />
import { useState } from "preact/hooks";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Notice } from "../ui/notice.tsx";
import type { Conf } from "./conf.ts";

/** Keeps what the form holds under a name. */
export function SaveConfiguration({ conf, onClose }: { conf: Conf; onClose(): void }) {
  const { t } = useLocale();
  const [name, setName] = useState("");
  const [description, setDescription] = useState("");
  const [outcome, setOutcome] = useState<"saved" | ApiError | null>(null);
  const save = async (event: Event) => {
    event.preventDefault();
    const { configuration: _from, ...rest } = conf;
    try {
      await call(`/api/configurations/${encodeURIComponent(name)}`, {
        method: "PUT",
        body: { conf: rest, description: description === "" ? null : description },
        offline: t("error.network"),
      });
      setOutcome("saved");
    } catch (error) {
      setOutcome(error as ApiError);
    }
  };
  return (
    <Dialog title={t("form.save_title")} onClose={onClose}>
      {outcome === "saved"
        ? (
          <Notice kind="good" alert title={t("form.saved", { name })}>
            <p>
              <a href="/etl/configurations">{t("nav.configurations")}</a>
            </p>
          </Notice>
        )
        : (
          <div class="stack tight">
            {outcome !== null && <Notice kind="problem" alert title={outcome.message} />}
            <div class="field">
              <label for="configuration-name">{t("form.name")}</label>
              <input
                id="configuration-name"
                type="text"
                autocomplete="off"
                value={name}
                onInput={(event) => setName(event.currentTarget.value)}
              />
            </div>
            <div class="field">
              <label for="configuration-description">{t("form.description")}</label>
              <input
                id="configuration-description"
                type="text"
                value={description}
                onInput={(event) => setDescription(event.currentTarget.value)}
              />
            </div>
            <div class="dialog-actions">
              <button
                type="button"
                class="button primary"
                disabled={name === ""}
                onClick={save}
              >
                {t("action.save")}
              </button>
            </div>
          </div>
        )}
    </Dialog>
  );
}
