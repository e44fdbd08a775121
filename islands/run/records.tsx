/// <reference lib="dom" />
import { at } from "../lib/base.ts";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { QuarantineView } from "../../store/quarantine.ts";
import type { RunDetail } from "../../vocabulary/run_schema.ts";
import type { RunRelations } from "../../store/run_views.ts";
import type { Submitted } from "../../vocabulary/run_schema.ts";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale, useRole } from "../lib/context.tsx";
import { useTurns } from "../lib/turns.ts";
import { Icon, Notice, StateBadge, Time } from "../ui/elements.tsx";
import { isOver, REQUEST_BODY } from "../../vocabulary/words.ts";
import { fieldSpan } from "./field_span.ts";
import { ReplayDialog } from "./replay.tsx";
import type { RunExtras } from "./run_data.ts";
import type { ValidationResult } from "../../pipeline/expectations/expectations.ts";
import { Result } from "../ui/expectation.tsx";

interface QuarantineCardProps {
  run: RunDetail;
  quarantine: RunExtras["quarantine"];
  relations: RunRelations;
}

type Page = Pick<RunExtras["quarantine"], "items" | "next">;

/** Records that failed a rule, as they were read, and a button to load them again. */
export function QuarantineCard({ run, quarantine, relations }: QuarantineCardProps) {
  const { t, number } = useLocale();
  const operator = useRole("operator");
  const [rule, setRule] = useState<string | null>(null);
  const [page, setPage] = useState<Page | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const offline = t("error.network");
  const { items, next } = page ?? quarantine;
  const total = quarantine.rules.reduce((sum, { count }) => sum + count, 0);

  const turns = useTurns();
  const attempt = async (what: () => Promise<void>) => {
    setBusy(true);
    setFailure(null);
    try {
      await what();
    } catch (error) {
      setFailure((error as ApiError).message);
    }
    setBusy(false);
  };
  /** Records are shown unless others are asked for meanwhile. */
  const look = (query: string, show: (found: Page) => void) =>
    attempt(async () => {
      const isLast = turns();
      const found = await call<Page>(`${url}?${query}`, { offline });
      if (isLast()) show(found);
    });
  const url = `/api/etl/runs/${run.run_id}/quarantine`;
  const query = (of: string | null) => of === null ? "" : `&rule=${encodeURIComponent(of)}`;
  const choose = (chosen: string | null) =>
    look(`limit=20${query(chosen)}`, (found) => {
      setPage(found);
      setRule(chosen);
    });
  const more = () =>
    look(
      `limit=100&cursor=${encodeURIComponent(next!)}${query(rule)}`,
      (following) => setPage({ items: [...items, ...following.items], next: following.next }),
    );
  const replay = () =>
    attempt(async () => {
      const submitted = await call<Submitted>(
        `${url}/replay${rule === null ? "" : `?rule=${encodeURIComponent(rule)}`}`,
        { method: "POST", offline },
      );
      location.assign(at(`/etl/runs/${submitted.run_id}`));
    });

  return (
    <section class="card" id="quarantine" aria-labelledby="quarantine-title">
      <div class="card-head centred">
        <h2 id="quarantine-title">{t("run.quarantine")}</h2>
        {total > 0 && (
          <span class="exports">
            {["csv", "ndjson"].map((kind) => (
              <a
                key={kind}
                class="button plain"
                href={`/etl/runs/${run.run_id}/quarantine.${kind}`}
                download={`quarantine_${run.run_id}.${kind}`}
              >
                <Icon name="download" size={14} /> {kind.toUpperCase()}
              </a>
            ))}
          </span>
        )}
        {total > 0 && isOver(run.state) && (
          <>
            <button
              type="button"
              class="button only-with-script"
              onClick={replay}
              title={t("run.replay_help")}
              {...operator.control(busy)}
            >
              <Icon name="retry" />{" "}
              {rule === null ? t("run.replay") : t("run.replay_rule", { rule })}
            </button>
            <button
              type="button"
              class="button only-with-script"
              onClick={() => setAsking(true)}
              title={t("replay.about")}
              {...operator.control(busy)}
            >
              {t("replay.with")}
            </button>
          </>
        )}
      </div>
      {asking && (
        <ReplayDialog
          run={run}
          items={items}
          rules={quarantine.rules}
          rule={rule}
          onClose={() => setAsking(false)}
        />
      )}
      {failure !== null && <Notice kind="problem" alert title={failure} />}
      {total === 0 ? <p class="empty">{t("run.no_quarantine")}</p> : (
        <>
          <div class="chips" role="group" aria-label={t("run.rules")}>
            <Chip pressed={rule === null} onClick={() => choose(null)}>
              {t("run.all_rules")} <span class="quiet">{number(total)}</span>
            </Chip>
            {quarantine.rules.map((each) => (
              <Chip
                key={each.rule}
                pressed={rule === each.rule}
                onClick={() => choose(each.rule)}
              >
                {each.rule} <span class="quiet">{number(each.count)}</span>
              </Chip>
            ))}
          </div>
          <Records items={items} />
          {next !== null && (
            <button type="button" class="button only-with-script" disabled={busy} onClick={more}>
              {t("run.more_records")}
            </button>
          )}
        </>
      )}
      {relations.replays.length > 0 && (
        <ul class="rows replays">
          {relations.replays.map((each) => (
            <li key={each.run_id}>
              <a href={`/etl/runs/${each.run_id}`}>{t("run.replay_run")}</a>{" "}
              <StateBadge state={each.state} />{" "}
              {each.dry_run && <span class="tag">{t("field.dry_run")}</span>}{" "}
              <span class="quiet">
                <Time at={each.requested_at} />
              </span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

interface ChipProps {
  pressed: boolean;
  onClick(): void;
  children: ComponentChildren;
}

function Chip({ pressed, onClick, children }: ChipProps) {
  return (
    <button type="button" class="chip" aria-pressed={pressed} onClick={onClick}>{children}</button>
  );
}

function Records({ items }: { items: QuarantineView[] }) {
  const { t, number } = useLocale();
  return (
    <div class="table-scroll" tabIndex={0} role="region" aria-label={t("run.rejected_records")}>
      <table class="table records">
        <thead>
          <tr>
            <th scope="col">{t("run.position")}</th>
            <th scope="col">{t("run.reason")}</th>
            <th scope="col">{t("run.raw")}</th>
          </tr>
        </thead>
        <tbody>
          {items.map((item) => (
            <tr key={`${item.chunk_no}.${item.position}.${item.output}`}>
              <td class="num" data-title={t("run.position")}>
                {item.line !== null
                  ? t("run.line", { line: number(item.line) })
                  : t("run.chunk_position", {
                    chunk: item.chunk_no,
                    position: number(item.position),
                  })}
                {item.file !== null && (
                  <span class="quiet second-line">
                    {item.file === REQUEST_BODY ? t("source.inline") : item.file}
                  </span>
                )}
              </td>
              <td>
                <span class="reason">
                  <code>{item.field ?? item.rule}</code>
                  {item.message}
                  {item.replayed_by !== null && (
                    <a href={`/etl/runs/${item.replayed_by}`}>
                      {item.state === "open"
                        ? t("run.rejected_again", { tries: item.tries })
                        : t(item.state === "replaying" ? "run.replaying" : "run.replayed")}
                    </a>
                  )}
                  {item.state === "returned" && <span class="quiet">{t("run.returned")}</span>}
                </span>
              </td>
              <td>
                <code
                  class="raw"
                  {...(item.raw.length > LONG
                    ? { tabIndex: 0, role: "group" as const, "aria-label": t("run.raw") }
                    : {})}
                >
                  <Raw item={item} />
                </code>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Characters from which a record may have to be scrolled. */
const LONG = 100;

/** The record as it was read, its failing field marked. */
function Raw({ item }: { item: QuarantineView }) {
  const span = fieldSpan(item);
  if (span === null) return <>{item.raw}</>;
  const [from, to] = span;
  return (
    <>
      {item.raw.slice(0, from)}
      <mark class="failing">{item.raw.slice(from, to) || "␣"}</mark>
      {item.raw.slice(to)}
    </>
  );
}

interface ValidationCardProps {
  run: RunDetail;
  validation: ValidationResult | null;
}

/** What each expectation of the suite found, those that failed first. */
export function ValidationCard({ run, validation }: ValidationCardProps) {
  const { t } = useLocale();
  const enforced = run.params.enforce_ge?.value === true;
  if (validation === null) {
    return (
      <section class="card" aria-labelledby="validation-title">
        <div class="card-head">
          <h2 id="validation-title">{t("run.validation")}</h2>
        </div>
        <p class="empty">
          {t(
            !isOver(run.state)
              ? "run.verdict_later"
              : run.params.suite?.value === null
              ? "run.no_suite"
              : "run.not_judged",
          )}
        </p>
      </section>
    );
  }
  const { evaluated_expectations: all, successful_expectations: good } = validation.statistics;
  const results = validation.results.toSorted((a, b) => Number(a.success) - Number(b.success));
  return (
    <section class="card" aria-labelledby="validation-title">
      <div class="card-head">
        <h2 id="validation-title">{t("run.validation")}</h2>
        <span class={validation.success ? "is-good" : "is-bad"}>
          {t("run.expectations_met", { good, n: all })}
        </span>
      </div>
      <p class="card-note">
        {t("run.suite")} <code>{validation.suite_name}</code> ·{" "}
        {t(enforced ? "run.enforced" : "run.recorded")}
      </p>
      <ul class="rows">
        {results.map((result, index) => <Result key={index} result={result} />)}
      </ul>
    </section>
  );
}
