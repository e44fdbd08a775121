/// <reference lib="dom" />
import { useState } from "preact/hooks";
import type { Submitted } from "../../store/runs.ts";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { useRole } from "../lib/viewer.tsx";
import { Confirm } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import { Notice } from "../ui/notice.tsx";
import { ResourceTable } from "./resource_table.tsx";
import { Editor } from "./editor.tsx";
import { type ResourceKind, type Row, rowPath, SPECS } from "./specs.ts";

export interface ResourceListProps {
  kind: ResourceKind;
  items: Row[];
}

/** Looks at, creates, changes, removes and, for configurations, runs. */
export function ResourceList({ kind, items: initial }: ResourceListProps) {
  const { t } = useLocale();
  const admin = useRole("admin");
  const spec = SPECS[kind];
  const { removable = spec.key } = spec;
  const [items, setItems] = useState(initial);
  const [editing, setEditing] = useState<Row | "new" | null>(null);
  const [removing, setRemoving] = useState<Row | null>(null);
  const [busy, setBusy] = useState(false);
  const [message, setMessage] = useState<{ kind: "good" | "problem"; text: string } | null>(null);
  const offline = t("error.network");

  const reload = async () =>
    setItems((await call<{ items: Row[] }>(`/etl/data/${kind}`, { offline })).items);
  const attempt = async (action: () => Promise<string | null>) => {
    setBusy(true);
    try {
      const text = await action();
      setMessage(text === null ? null : { kind: "good", text });
    } catch (error) {
      setMessage({ kind: "problem", text: (error as ApiError).message });
    }
    setBusy(false);
  };
  const saved = (name: string) =>
    attempt(async () => {
      setEditing(null);
      await reload();
      return t("resource.saved", { name });
    });
  const remove = (row: Row) =>
    attempt(async () => {
      setRemoving(null);
      await call(rowPath(spec, String(row[spec.key])), { method: "DELETE", offline });
      await reload();
      return t("resource.removed", { name: String(row[removable]) });
    });
  const run = (row: Row) =>
    attempt(async () => {
      const { run_id } = await call<Submitted>("/api/etl/run", {
        method: "POST",
        body: { configuration: row.name },
        offline,
      });
      location.assign(`/etl/runs/${run_id}`);
      return null;
    });
  return (
    <>
      <div class="page-head">
        <h1>{t(`nav.${kind}`)}</h1>
        {!spec.given && (
          <div class="page-actions">
            <button
              type="button"
              class="button primary only-with-script"
              onClick={() => setEditing("new")}
              {...admin.control()}
            >
              <Icon name="plus" /> {t("resource.new", { noun: t(spec.noun) })}
            </button>
          </div>
        )}
      </div>
      <p class="lead">
        {t(spec.about)}{" "}
        {!admin.may && <span class="quiet">{t("role.changes", { role: t("role.admin") })}</span>}
      </p>
      <div role="status" class="messages">
        {message !== null && <Notice kind={message.kind} title={message.text} />}
      </div>
      <section class="card" aria-label={t(`nav.${kind}`)}>
        {items.length === 0 ? <p class="empty">{t(spec.empty)}</p> : (
          <ResourceTable
            kind={kind}
            items={items}
            busy={busy}
            onEdit={setEditing}
            onRemove={setRemoving}
            onRun={run}
          />
        )}
      </section>
      {editing !== null && (
        <Editor
          spec={spec}
          row={editing === "new" ? null : editing}
          onSaved={saved}
          onClose={() => setEditing(null)}
        />
      )}
      {removing !== null && (
        <Confirm
          title={t("resource.remove_title", { name: String(removing[removable]) })}
          text={t(spec.removal)}
          action={t("action.remove")}
          busy={busy}
          onConfirm={() => remove(removing)}
          onClose={() => setRemoving(null)}
        />
      )}
    </>
  );
}
