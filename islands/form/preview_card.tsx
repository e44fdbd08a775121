import type { Preview } from "../../pipeline/preview.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Notice } from "../ui/notice.tsx";
import { Time } from "../ui/time.tsx";

/** What the first records would become, with what would be rejected. */
export function PreviewCard({ preview }: { preview: Preview }) {
  const { t, number } = useLocale();
  const { counts, key, events, rejected, warnings } = preview;
  return (
    <section class="card preview" aria-labelledby="preview-title">
      <div class="card-head">
        <h2 id="preview-title" tabIndex={-1}>{t("form.preview")}</h2>
        <span class="quiet">{t("form.sampled", { n: preview.sampled })}</span>
      </div>
      <dl class="facts">
        <Fact name={t("form.events")} value={number(counts.events)} />
        <Fact
          name={t("field.rejected")}
          value={number(counts.rejected)}
          bad={counts.rejected > 0}
        />
        <Fact name={t("field.filtered")} value={number(counts.filtered)} />
        <Fact name={t("field.extra")} value={number(counts.extra)} />
        <Fact
          name={t("form.key")}
          value={key.fields === null ? t("form.key_hash") : key.fields.join(" + ")}
        />
        <Fact
          name={t("form.key_unique")}
          value={key.unique ? t("form.yes") : t("form.no")}
          bad={!key.unique}
        />
      </dl>
      {warnings.map((warning) => <Notice key={warning} kind="warning" title={warning} />)}
      {!key.unique && (
        <Notice kind="warning" title={t("form.repeated")}>
          <p>
            <code>{key.repeated.map(({ event_id }) => event_id).join(", ")}</code>
          </p>
        </Notice>
      )}
      {rejected.length > 0 && (
        <ul class="rows" lang="en">
          {rejected.slice(0, 5).map((each) => (
            <li key={`${each.position}.${each.output}`}>
              <strong class="is-bad">{each.message}</strong>
              <code class="raw">{each.raw}</code>
            </li>
          ))}
        </ul>
      )}
      {events.length > 0 && (
        <div class="table-scroll" tabIndex={0} role="region" aria-label={t("form.events")}>
          <table class="table records">
            <thead>
              <tr>
                <th scope="col">event_id</th>
                <th scope="col">event_type</th>
                <th scope="col">occurred_at</th>
                <th scope="col">payload</th>
              </tr>
            </thead>
            <tbody>
              {events.map((event) => (
                <tr key={event.position}>
                  <td>
                    <code class="clip preview-id" title={event.event_id}>{event.event_id}</code>
                  </td>
                  <td>{event.event_type}</td>
                  <td>
                    {event.occurred_at === null
                      ? "–"
                      : <Time at={event.occurred_at} style="long" />}
                  </td>
                  <td>
                    <code class="raw">{JSON.stringify(event.payload)}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Fact({ name, value, bad = false }: { name: string; value: string; bad?: boolean }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class={bad ? "is-bad" : ""}>{value}</dd>
    </div>
  );
}
