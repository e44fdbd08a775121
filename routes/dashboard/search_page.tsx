import type { ComponentChildren } from "preact";
import { useLocale } from "../../islands/lib/context.tsx";
import { Said, StateBadge, Time } from "../../islands/ui/elements.tsx";
import { type Found, searchAll } from "../../store/search.ts";
import { REQUEST_BODY } from "../../vocabulary/words.ts";
import { Turns } from "../shared/load.ts";
import type { Page } from "./page.tsx";

/** Searches that are under way at once. */
const turns = new Turns(2);
const LEAST = 2;
const MOST = 200;

/** What has a text in its name, of every kind; a whole run id leads to its run. */
export const searchPage: Page = {
  path: "/search",
  role: "viewer",
  nav: "search",
  async load(c, deps) {
    const text = (c.req.query("q") ?? "").trim().slice(0, MOST);
    if (text.length < LEAST) return { main: <Search text={text} found={null} /> };
    const found = await deps.briefly.get(
      `search ${text}`,
      () => turns.take(() => searchAll(deps.sql, text)),
    );
    if (found.runs.length === 1 && found.runs[0]!.run_id === text.toLowerCase()) {
      return c.redirect(`/etl/runs/${found.runs[0]!.run_id}`);
    }
    return { main: <Search text={text} found={found} />, holdsRows: true };
  },
};

const kinds = ["datasets", "schedules", "configurations", "suites"] as const;

function Search({ text, found }: { text: string; found: Found | null }) {
  const { t } = useLocale();
  const nothing = found !== null && found.rejected.records.length === 0 &&
    ([...kinds, "runs", "labels"] as const).every((kind) => found[kind].length === 0);
  return (
    <>
      <div class="page-head">
        <h1>{t("nav.search")}</h1>
      </div>
      <form class="inline-form search-form" action="/etl/search" role="search">
        <label class="visually-hidden" for="search-text">{t("search.label")}</label>
        <input
          id="search-text"
          type="search"
          name="q"
          value={text}
          maxlength={MOST}
          placeholder={t("search.label")}
          data-search
        />
        <button type="submit" class="button">{t("nav.search")}</button>
      </form>
      {found === null ? <p class="quiet">{t("search.about")}</p> : (
        <>
          {nothing
            ? <p class="empty" role="status">{t("search.nothing", { text })}</p>
            : <Results text={text} found={found} />}
          <HowFar found={found} />
        </>
      )}
    </>
  );
}

/** What was looked through and what was not: whether something is missing from what was found. */
function HowFar({ found: { labels_cut, rejected } }: { found: Found }) {
  const { t, dateTime } = useLocale();
  const { looked, back_to, cut } = rejected;
  return (
    <>
      {labels_cut && <p class="quiet">{t("search.labels_cut")}</p>}
      {back_to === null ? cut && <p class="quiet">{t("search.slow")}</p> : (
        <p class="quiet">
          {t("search.looked", { n: looked, time: dateTime(back_to) })} {cut && t("search.cut")}
        </p>
      )}
    </>
  );
}

function Results({ text, found }: { text: string; found: Found }) {
  const { t } = useLocale();
  return (
    <div class="search-results">
      <Group title={t("nav.pipelines")} items={found.labels}>
        {({ label, state }) => (
          <a href={`/etl/overview?run_label=${encodeURIComponent(label)}`}>
            <span class="search-name">{label}</span> <StateBadge state={state} />
          </a>
        )}
      </Group>
      <Group title={t("nav.runs")} items={found.runs}>
        {({ run_id, run_label, state, requested_at }) => (
          <a href={`/etl/runs/${run_id}`}>
            <code class="search-name">{run_id}</code> {run_label} <StateBadge state={state} />{" "}
            <span class="quiet">
              <Time at={requested_at} />
            </span>
          </a>
        )}
      </Group>
      {kinds.map((kind) => (
        <Group key={kind} title={t(`nav.${kind}`)} items={found[kind]}>
          {(name) => (
            <a
              href={kind === "datasets"
                ? `/etl/datasets/${encodeURIComponent(name)}`
                : `/etl/${kind}#row-${encodeURIComponent(name)}`}
            >
              <span class="search-name">{name}</span>
            </a>
          )}
        </Group>
      ))}
      <Group title={t("search.records")} items={found.rejected.records}>
        {({ run_id, run_label, requested_at, rule, message, file, line, raw }) => (
          <>
            <a href={`/etl/runs/${run_id}#quarantine`}>
              <span class="search-name">{run_label}</span>
            </a>{" "}
            <span class="quiet">
              <code title={run_id}>{run_id.slice(0, 8)}…{run_id.slice(-4)}</code>{" "}
              <Time at={requested_at} style="long" />
            </span>{" "}
            <code class="quiet">{rule}</code>
            {file !== null && (
              <span class="quiet">
                {` ${file === REQUEST_BODY ? t("source.inline") : file}`}
                {line !== null && `, ${t("run.line", { line })}`}
              </span>
            )}
            <p>
              <Said text={message} />
            </p>
            <p>
              <code class="search-raw">
                <Marked text={raw} part={text} />
              </code>
            </p>
          </>
        )}
      </Group>
    </div>
  );
}

interface GroupProps<T> {
  title: string;
  items: T[];
  children: (item: T) => ComponentChildren;
}

function Group<T>({ title, items, children }: GroupProps<T>) {
  if (items.length === 0) return null;
  return (
    <section class="card" aria-label={title}>
      <div class="card-head">
        <h2>{title}</h2>
      </div>
      <ul class="rows">{items.map((item, index) => <li key={index}>{children(item)}</li>)}</ul>
    </section>
  );
}

/** A text with the place marked at which it has a part. */
function Marked({ text, part }: { text: string; part: string }) {
  const at = text.toLowerCase().indexOf(part.toLowerCase());
  if (at < 0) return <>{text}</>;
  return (
    <>
      {text.slice(0, at)}
      <mark>{text.slice(at, at + part.length)}</mark>
      {text.slice(at + part.length)}
    </>
  );
}
