import type { ComponentChildren } from "preact";
import { useLocale } from "../../islands/lib/context.tsx";
import { Notice, StateBadge, Time } from "../../islands/ui/elements.tsx";
import {
  type DatasetFacts,
  datasetFacts,
  type DatasetProfile,
  profileDataset,
} from "../../store/dataset_page.ts";
import { Problem } from "../../vocabulary/problem.ts";
import { say } from "../../vocabulary/messages.ts";
import { identityOf, mayAct } from "../access/identity.ts";
import { Turns } from "../shared/load.ts";
import { Briefly } from "../shared/lookups.ts";
import type { DashboardDeps, Page } from "./page.tsx";
import { readPreferences } from "./preferences.ts";
import { Consumers } from "./reports_page.tsx";

/** What a profile says is true for a while; what is written meanwhile changes little of it. */
const PROFILE_KEPT_MS = 30_000;
/** Profiles that are made at once. */
const AT_ONCE = 2;
/** Who waits longer for a turn is told that it is slow. */
const MOST_WAIT_MS = 4_000;
const STATEMENT_TIMEOUT = "57014";
const LOCK_TIMEOUT = "55P03";
const kept = new WeakMap<DashboardDeps["sql"], Briefly>();
const turns = new Turns(AT_ONCE);

type Profiled = DatasetProfile | "no_table" | "slow";

/** One dataset: how fresh, how many rows, what they hold, who writes and reads it. */
export const datasetPage: Page = {
  path: "/datasets/:dataset",
  role: "viewer",
  nav: "datasets",
  async load(c, deps) {
    const name = c.req.param("dataset") ?? "";
    const { zone } = readPreferences(c);
    const facts = await deps.briefly.get(
      `dataset ${JSON.stringify([name, zone])}`,
      () => datasetFacts(deps.sql, name, zone),
    );
    if (facts === null) {
      throw new Problem("not-found", {
        detail: say("dataset-unwritten", { name: name.slice(0, 200) }),
      });
    }
    const identity = identityOf(c);
    return {
      title: () => name,
      holdsRows: true,
      main: (
        <Dataset
          facts={facts}
          profile={await profileOf(deps, name)}
          mayRead={identity !== undefined && mayAct(identity.role, "operator")}
        />
      ),
    };
  },
};

/** Made once for all who look within half a minute; one that takes too long is not tried again sooner. */
function profileOf({ sql }: DashboardDeps, dataset: string): Promise<Profiled> {
  let briefly = kept.get(sql);
  if (briefly === undefined) kept.set(sql, briefly = new Briefly(PROFILE_KEPT_MS));
  return briefly.get(dataset, () =>
    turns.take(async () => {
      try {
        return await profileDataset(sql, dataset) ?? "no_table";
      } catch (error) {
        const { code } = error as { code?: string };
        if (code === STATEMENT_TIMEOUT || code === LOCK_TIMEOUT) return "slow";
        throw error;
      }
    }, MOST_WAIT_MS).then((profile) => profile ?? "slow"));
}

interface DatasetProps {
  facts: DatasetFacts;
  profile: Profiled;
  /** Whether the viewer's role may see what rows hold: the one that may preview. */
  mayRead: boolean;
}

function Dataset({ facts, profile, mayRead }: DatasetProps) {
  const { t, duration } = useLocale();
  const { dataset, stale, stale_after_seconds, writers, readers } = facts;
  const known = typeof profile === "object" ? profile : null;
  return (
    <>
      <div class="page-head">
        <div>
          <p class="crumb">
            <a href="/etl/datasets">{t("nav.datasets")}</a>
          </p>
          <h1 class="clip">{dataset}</h1>
        </div>
      </div>
      {stale && stale_after_seconds !== null && (
        <Notice
          kind="problem"
          title={t("dataset.stale", { duration: duration(stale_after_seconds * 1000) })}
        />
      )}
      <Figures facts={facts} profile={known} />
      <div class="columns halves">
        <Days facts={facts} />
        <Consumers consumers={readers} of="dataset" />
      </div>
      {known === null
        ? <Notice kind="warning" title={t(`dataset.${profile as "slow" | "no_table"}`)} />
        : known.rows === 0
        ? (
          <section class="card">
            <p class="empty">{t("dataset.empty")}</p>
          </section>
        )
        : (
          <>
            <Columns profile={known} mayRead={mayRead} />
            {mayRead && <Examples profile={known} />}
          </>
        )}
      <Changes facts={facts} />
      <section class="card" aria-labelledby="writers-title">
        <div class="card-head">
          <h2 id="writers-title">{t("dataset.writers")}</h2>
        </div>
        {writers.length === 0
          ? <p class="empty">{t("overview.no_runs")}</p>
          : (
            <Scroll label={t("dataset.writers")}>
              <table class="table card-table">
                <thead>
                  <tr>
                    <th scope="col">{t("field.state")}</th>
                    <th scope="col">{t("field.run_label")}</th>
                    <th scope="col">{t("field.ended_at")}</th>
                    <th scope="col" class="num">{t("field.inserted")}</th>
                    <th scope="col" class="num">{t("field.updated")}</th>
                    <th scope="col" class="num">{t("field.unchanged")}</th>
                    <th scope="col" class="num">{t("field.gone")}</th>
                  </tr>
                </thead>
                <tbody>
                  {writers.map((writer) => <Writer key={writer.created_at} {...writer} />)}
                </tbody>
              </table>
            </Scroll>
          )}
      </section>
    </>
  );
}

/** How its columns came to be what they are, the newest change first. */
function Changes({ facts }: { facts: DatasetFacts }) {
  const { t } = useLocale();
  const { changes, declared_at } = facts;
  if (changes.length === 0 && declared_at === null) return null;
  return (
    <section class="card" aria-labelledby="changes-title">
      <div class="card-head">
        <h2 id="changes-title">{t("dataset.changes")}</h2>
      </div>
      <ul class="rows">
        {changes.map((change) => <Change key={change.created_at} {...change} />)}
        {declared_at !== null && (
          <li>
            <p class="alert-kind">
              <span>{t("dataset.declared")}</span>
              <span class="quiet">
                <Time at={declared_at} />
              </span>
            </p>
          </li>
        )}
      </ul>
    </section>
  );
}

function Change(change: DatasetFacts["changes"][number]) {
  const { t } = useLocale();
  const { event, actor, run_id, created_at, added, types, columns } = change;
  const column = ({ name, type }: { name: string; type: string }) => `${name} ${type}`;
  return (
    <li>
      <p class="alert-kind">
        <span>{t(`dataset.${event}`)}</span>
        <span class="quiet">
          {run_id === null ? actor : <a href={`/etl/runs/${run_id}`}>{t("dataset.by_run")}</a>}{" "}
          <Time at={created_at} />
        </span>
      </p>
      {Object.entries(types).map(([name, type]) => (
        <p key={name}>{t("dataset.retyped", { name, type })}</p>
      ))}
      {added.length > 0 && (
        <p>
          {t("dataset.added")} <code>{added.map(column).join(", ")}</code>
        </p>
      )}
      {columns.length > 0 && (
        <p>
          <code>{columns.map(column).join(", ")}</code>
        </p>
      )}
    </li>
  );
}

/** A table that is wider than a phone: scrolled with the keyboard, too. */
function Scroll({ label, children }: { label: string; children: ComponentChildren }) {
  return <div class="table-scroll" role="group" aria-label={label} tabindex={0}>{children}</div>;
}

function Writer(writer: DatasetFacts["writers"][number]) {
  const { t, number } = useLocale();
  const counts = ["inserted", "updated", "unchanged", "gone"] as const;
  return (
    <tr>
      <td>
        <StateBadge state={writer.state} />
      </td>
      <th scope="row">
        <a class="row-link clip" href={`/etl/runs/${writer.run_id}`}>{writer.run_label}</a>
      </th>
      <td class="quiet">
        <Time at={writer.created_at} />
      </td>
      {counts.map((name) => (
        <td key={name} class="num" data-title={t(`field.${name}`)}>{number(writer[name])}</td>
      ))}
    </tr>
  );
}

function Figures({ facts, profile }: { facts: DatasetFacts; profile: DatasetProfile | null }) {
  const { t, number, duration } = useLocale();
  const { last_written_at, stale, stale_after_seconds, view } = facts;
  return (
    <dl class="figures three">
      <div class="figure">
        <dt>{t("dataset.freshness")}</dt>
        <dd class={`figure-main ${stale ? "is-bad" : ""}`}>
          {last_written_at === null
            ? t("dataset.never")
            : <Time at={last_written_at} style="relative" />}
        </dd>
        <dd class="figure-note">
          {stale_after_seconds === null
            ? ""
            : t("dataset.stale_after", { duration: duration(stale_after_seconds * 1000) })}
        </dd>
      </div>
      <div class="figure">
        <dt>{t("dataset.rows")}</dt>
        <dd class="figure-main">
          {profile === null
            ? "–"
            : profile.sampled
            ? t("dataset.estimate", { rows: rounded(profile.estimate, number) })
            : number(profile.estimate)}
        </dd>
        <dd class="figure-note">
          {profile === null ? "" : t("dataset.size", { size: bytes(profile.bytes, number) })}
        </dd>
      </div>
      <div class="figure">
        <dt>{t("dataset.view")}</dt>
        <dd class="figure-main figure-text clip" title={view ?? undefined}>
          {view ?? t("dataset.no_view")}
        </dd>
        <dd class="figure-note">
          <a href="/etl/datasets">{t("dataset.declare")}</a>
        </dd>
      </div>
    </dl>
  );
}

type Format = (value: number, options?: Intl.NumberFormatOptions) => string;

/** An estimate is no more exact than three digits. */
const rounded = (value: number, number: Format) => number(value, { maximumSignificantDigits: 3 });

function bytes(value: number, number: Format): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3));
  return `${number(value / 1000 ** power, { maximumSignificantDigits: 3 })} ${units[power]}`;
}

const CHART = { days: 30, width: 14, gap: 4, height: 96 };

const dayBefore = (day: string, days: number) =>
  new Date(Date.parse(day) - days * 86_400_000).toISOString().slice(0, 10);

/** A bar for each of the last 30 days: new rows below, changed ones on top. */
function Days({ facts }: { facts: DatasetFacts }) {
  const { t, number, dateTime } = useLocale();
  const { days, today } = facts;
  const total = (what: "inserted" | "updated") => days.reduce((sum, each) => sum + each[what], 0);
  const most = Math.max(1, ...days.map(({ inserted, updated }) => inserted + updated));
  const step = CHART.width + CHART.gap;
  const width = CHART.days * step;
  const name = (day: string) => dateTime(`${day}T12:00:00Z`, "day");
  const inserted = number(total("inserted"));
  const updated = number(total("updated"));
  return (
    <section class="card" aria-labelledby="days-title">
      <div class="card-head">
        <h2 id="days-title">{t("dataset.days")}</h2>
      </div>
      {days.length === 0 ? <p class="empty">{t("dataset.no_days")}</p> : (
        <>
          <svg
            class="days"
            viewBox={`0 0 ${width} ${CHART.height}`}
            role="img"
            aria-label={t("dataset.days_text", { inserted, updated })}
          >
            {days.map((each) => {
              const back = Math.round((Date.parse(today) - Date.parse(each.day)) / 86_400_000);
              const x = width - (back + 1) * step;
              const high = (rows: number) => rows / most * (CHART.height - 4);
              const whole = Math.max(2, high(each.inserted + each.updated));
              const upper = Math.min(whole, high(each.updated));
              return (
                <g key={each.day}>
                  <title>
                    {t("dataset.day", {
                      day: name(each.day),
                      inserted: number(each.inserted),
                      updated: number(each.updated),
                    })}
                  </title>
                  <rect
                    class="day-inserted"
                    x={x}
                    y={CHART.height - whole}
                    width={CHART.width}
                    height={whole}
                  />
                  <rect
                    class="day-updated"
                    x={x}
                    y={CHART.height - whole}
                    width={CHART.width}
                    height={upper}
                  />
                </g>
              );
            })}
          </svg>
          <p class="days-axis quiet">
            <span>{name(dayBefore(today, CHART.days - 1))}</span>
            <span>{name(today)}</span>
          </p>
          <p class="quiet">{t("dataset.days_text", { inserted, updated })}</p>
        </>
      )}
    </section>
  );
}

function Columns({ profile, mayRead }: { profile: DatasetProfile; mayRead: boolean }) {
  const { t, number, percent } = useLocale();
  const { rows, sampled, columns, all_columns } = profile;
  return (
    <section class="card" aria-labelledby="columns-title">
      <div class="card-head">
        <h2 id="columns-title">{t("dataset.columns")}</h2>
        <span class="quiet">
          {all_columns > columns.length &&
            `${t("dataset.some_columns", { n: columns.length, of: all_columns })} `}
          {t(sampled ? "dataset.sample" : "dataset.all_rows", { n: rows })}
        </span>
      </div>
      {!mayRead && <p class="quiet">{t("dataset.hidden")}</p>}
      <Scroll label={t("dataset.columns")}>
        <table class="table card-table profile">
          <thead>
            <tr>
              <th scope="col">{t("form.name")}</th>
              <th scope="col">{t("dataset.type")}</th>
              <th scope="col" class="num">{t("dataset.nulls")}</th>
              <th scope="col" class="num">{t("dataset.distinct")}</th>
              {mayRead && <th scope="col">{t("dataset.least")}</th>}
              {mayRead && <th scope="col">{t("dataset.greatest")}</th>}
              {mayRead && <th scope="col">{t("dataset.common")}</th>}
            </tr>
          </thead>
          <tbody>
            {columns.map((column, index) => (
              <tr key={column.name} class={index < CARDS ? undefined : "later"}>
                <th scope="row">
                  <code>{column.name}</code>
                </th>
                <td class="quiet" data-title={t("dataset.type")}>{column.type}</td>
                <td class="num" data-title={t("dataset.nulls")}>{percent(column.nulls / rows)}</td>
                <td class="num" data-title={t("dataset.distinct")}>{number(column.distinct)}</td>
                {mayRead && (
                  <td
                    class="value-cell"
                    title={column.least ?? undefined}
                    data-title={t("dataset.least")}
                  >
                    {column.least ?? "–"}
                  </td>
                )}
                {mayRead && (
                  <td
                    class="value-cell"
                    title={column.greatest ?? undefined}
                    data-title={t("dataset.greatest")}
                  >
                    {column.greatest ?? "–"}
                  </td>
                )}
                {mayRead && (
                  <td class="whole" data-title={t("dataset.common")}>
                    {column.distinct < rows - column.nulls || rows === 1
                      ? (
                        <span class="common">
                          {column.common.filter((each) => each.rows > 1 || rows === 1).map((
                            { value, rows: n },
                          ) => (
                            <span key={value} class="common-value">
                              <span class="value-cell" title={value}>{value}</span>{" "}
                              <span class="quiet">{number(n)}</span>
                            </span>
                          ))}
                        </span>
                      )
                      : <span class="quiet">–</span>}
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      <MoreCards n={columns.length} />
    </section>
  );
}

/** Rows that a phone, where each is a card, shows at first. */
const CARDS = 5;

function MoreCards({ n }: { n: number }) {
  const { t } = useLocale();
  if (n <= CARDS) return null;
  return (
    <label class="more-rows to-tablet">
      <input type="checkbox" autocomplete="off" /> {t("dataset.all_cards", { n })}
    </label>
  );
}

const shortName = (name: string) => name.replace(/^payload\./, "");

/** Rows as the table has them, with what is in payload as columns of its own. */
function Examples({ profile }: { profile: DatasetProfile }) {
  const { t } = useLocale();
  const { examples, columns, all_columns } = profile;
  const had = new Set(examples.flatMap((row) => Object.keys(row)));
  const shown = columns.filter(({ name }) => had.has(name));
  return (
    <section class="card" aria-labelledby="examples-title">
      <div class="card-head">
        <h2 id="examples-title">{t("dataset.examples", { n: examples.length })}</h2>
        {all_columns > shown.length && (
          <span class="quiet">
            {t("dataset.some_columns", { n: shown.length, of: all_columns })}
          </span>
        )}
      </div>
      <Scroll label={t("dataset.examples", { n: examples.length })}>
        <table class="table card-table two">
          <thead>
            <tr>
              {shown.map(({ name }) => <th scope="col" key={name}>{shortName(name)}</th>)}
            </tr>
          </thead>
          <tbody>
            {examples.map((row, index) => (
              <tr key={index} class={index < CARDS ? undefined : "later"}>
                {shown.map(({ name }) => {
                  const text = Object.hasOwn(row, name) ? row[name] : null;
                  return (
                    <td
                      class={`value-cell ${text === null ? "nothing" : ""}`}
                      key={name}
                      title={text ?? undefined}
                      data-title={shortName(name)}
                    >
                      {text ?? "–"}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      <MoreCards n={examples.length} />
    </section>
  );
}
