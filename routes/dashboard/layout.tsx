import type { ComponentChildren } from "preact";
import type { MessageKey } from "../../islands/i18n/en.ts";
import { useLocale } from "../../islands/lib/context.tsx";
import { Icon, type IconName, Symbols } from "../../islands/ui/elements.tsx";
import type { Identity } from "../access/identity.ts";
import { FORM_TOKEN, formToken } from "../access/session.ts";
import type { Theme } from "./preferences.ts";

/** What the menu can name: each has a text. */
export type NavName = { [K in MessageKey]: K extends `nav.${infer N}` ? N : never }[MessageKey];

const GROUPS = [undefined, "automation", "quality"] as const;

/** A line of the menu. */
export interface MenuItem {
  name: NavName & IconName;
  path: string;
  /** The title that it is below; default: at the top, below none. */
  group?: Exclude<typeof GROUPS[number], undefined>;
  /** The key that leads there after "g"; default: none. */
  key?: string;
}

interface AloneLayoutProps {
  theme: Theme;
  clock: "local" | "utc";
  /** Path and query of this page, to come back to. */
  here: string;
  children: ComponentChildren;
}

interface LayoutProps extends AloneLayoutProps {
  menu: MenuItem[];
  /** The line of the menu that is marked; null: none. */
  nav: NavName | null;
  identity: Identity | undefined;
}

/** What every page has around its content. */
export function Layout({ menu, nav, theme, clock, here, identity, children }: LayoutProps) {
  const { t } = useLocale();
  return (
    <>
      <a class="skip" href="#main">{t("nav.skip")}</a>
      <header class="topbar">
        <Brand />
        <details class="menu">
          <summary aria-label={t("nav.menu")}>
            <Icon name="menu" size={20} />
          </summary>
          <div class="menu-panel">
            <SearchForm />
            <Navigation menu={menu} nav={nav} label={t("nav.menu")} />
            <Account identity={identity} />
            <Settings theme={theme} clock={clock} here={here} />
          </div>
        </details>
      </header>
      <aside class="sidebar">
        <Brand />
        <SearchForm />
        <Navigation menu={menu} nav={nav} label={t("nav.main")} />
        <div class="sidebar-end">
          <Account identity={identity} />
          <Settings theme={theme} clock={clock} here={here} />
        </div>
      </aside>
      <Symbols />
      <main id="main" tabindex={-1}>{children}</main>
      <Shortcuts menu={menu} />
    </>
  );
}

/** Over everything; "/" leads here. */
function SearchForm() {
  const { t } = useLocale();
  return (
    <form class="nav-search" action="/etl/search" role="search" aria-label={t("search.label")}>
      <input
        type="search"
        name="q"
        aria-label={t("search.label")}
        placeholder={t("search.short")}
        maxlength={200}
        autocomplete="off"
        data-search
      />
      <kbd aria-hidden="true">/</kbd>
    </form>
  );
}

/** What keys do; the script of every page opens it on "?". */
function Shortcuts({ menu }: { menu: MenuItem[] }) {
  const { t } = useLocale();
  const keys: [string, string][] = [
    ["/", t("search.label")],
    ["f", t("keys.filter")],
    ["n", t("nav.new")],
    ...menu.flatMap(({ key, name }): [string, string][] =>
      key === undefined ? [] : [[`g ${key}`, t(`nav.${name}`)]]
    ),
    ["?", t("keys.title")],
  ];
  return (
    <dialog id="shortcuts" class="dialog" aria-labelledby="shortcuts-title">
      <form method="dialog" class="dialog-head">
        <h2 id="shortcuts-title">{t("keys.title")}</h2>
        <button type="submit" class="button plain icon-only" aria-label={t("action.close")}>
          <Icon name="close" />
        </button>
      </form>
      <dl class="shortcuts">
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt>{key.split(" ").map((each) => <kbd key={each}>{each}</kbd>)}</dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </dialog>
  );
}

/** The same for a page that leads nowhere else. */
export function AloneLayout({ theme, clock, here, children }: AloneLayoutProps) {
  return (
    <div class="alone">
      <header>
        <Brand />
      </header>
      <Symbols />
      <main id="main" tabindex={-1}>{children}</main>
      <footer>
        <Preferences theme={theme} clock={clock} here={here} />
      </footer>
    </div>
  );
}

/** Who has signed in; nothing where nobody needs to. */
function Account({ identity }: { identity: Identity | undefined }) {
  const { t } = useLocale();
  if (identity === undefined || identity.via === "open" || identity.via === "process") return null;
  return (
    <div class="account">
      <p>
        <span class="visually-hidden">{t("sign_in.as")}</span>
        <span class="account-name">{identity.name}</span>
        <span class="quiet">{t(`role.${identity.role}`)}</span>
      </p>
      {identity.session !== undefined && (
        <form method="post" action="/etl/sign-out">
          <input type="hidden" name={FORM_TOKEN} value={formToken(identity.session.text)} />
          <button type="submit" class="button plain small">{t("sign_in.out")}</button>
          <button type="submit" class="button plain small" name="everywhere" value="yes">
            {t("sign_in.out_everywhere")}
          </button>
        </form>
      )}
    </div>
  );
}

function Brand() {
  return (
    <a class="brand" href="/etl">
      <svg width="22" height="22" viewBox="0 0 32 32" aria-hidden="true">
        <rect class="brand-box" width="32" height="32" rx="8" />
        <path
          class="brand-line"
          d="M9 10h14M9 16h8M9 22h11"
          fill="none"
          stroke-width="3"
          stroke-linecap="round"
        />
        <circle class="brand-dot" cx="22.5" cy="16" r="2" />
      </svg>
      <span>etl-improved</span>
    </a>
  );
}

function Navigation(
  { menu, nav, label }: Pick<LayoutProps, "menu" | "nav"> & { label: string },
) {
  const { t } = useLocale();
  return (
    <nav aria-label={label}>
      <a class="button primary wide" href="/etl/new" data-key="n" {...current(nav, "new")}>
        <Icon name="plus" /> {t("nav.new")}
      </a>
      {GROUPS.map((group) => (
        <div class="nav-group" key={group}>
          {group !== undefined && <p class="nav-title">{t(`nav.${group}`)}</p>}
          <ul>
            {menu.filter((item) => item.group === group).map(({ name, path, key }) => (
              <li key={name}>
                <a
                  class="nav-item"
                  href={path}
                  data-key={key === undefined ? undefined : `g ${key}`}
                  {...current(nav, name)}
                >
                  <Icon name={name} /> {t(`nav.${name}`)}
                </a>
              </li>
            ))}
          </ul>
        </div>
      ))}
    </nav>
  );
}

const current = (nav: NavName | null, name: NavName) =>
  nav === name ? { "aria-current": "page" as const } : {};

type PreferencesProps = Pick<AloneLayoutProps, "theme" | "clock" | "here">;

function Settings({ theme, clock, here }: PreferencesProps) {
  const { t } = useLocale();
  return (
    <div class="settings">
      <a class="nav-item" href="/api/docs">
        <Icon name="docs" /> {t("nav.docs")}
      </a>
      <button type="button" class="nav-item only-with-script" data-shortcuts>
        <Icon name="keyboard" /> {t("keys.title")}
      </button>
      <Preferences theme={theme} clock={clock} here={here} />
    </div>
  );
}

function Preferences({ theme, clock, here }: PreferencesProps) {
  const { t, lang, zone } = useLocale();
  const icons = { system: "system", light: "sun", dark: "moon" } as const;
  return (
    <form method="post" action="/etl/preferences" class="settings-row">
      <input type="hidden" name="back" value={here} />
      <div class="segmented" role="group" aria-label={t("theme.label")}>
        {(["system", "light", "dark"] as const).map((each) => (
          <button
            type="submit"
            name="theme"
            value={each}
            key={each}
            aria-pressed={theme === each}
            aria-label={t(`theme.${each}`)}
            title={t(`theme.${each}`)}
          >
            <Icon name={icons[each]} />
          </button>
        ))}
      </div>
      <div class="segmented" role="group" aria-label={t("clock.label")}>
        {(["local", "utc"] as const).map((each) => (
          <button
            type="submit"
            name="clock"
            value={each}
            key={each}
            aria-pressed={clock === each}
            title={each === "utc" || clock === "utc" ? t(`clock.${each}`) : zone}
          >
            {t(`clock.${each}`)}
          </button>
        ))}
      </div>
      <div class="segmented" role="group" aria-label={t("lang.label")}>
        {(["en", "es"] as const).map((each) => (
          <button
            type="submit"
            name="lang"
            value={each}
            key={each}
            lang={each}
            aria-pressed={lang === each}
            aria-label={each === "en" ? "EN, English" : "ES, Español"}
            title={each === "en" ? "English" : "Español"}
          >
            {each.toUpperCase()}
          </button>
        ))}
      </div>
    </form>
  );
}
