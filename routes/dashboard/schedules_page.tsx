import type { Context } from "hono";
import { useLocale } from "../../islands/lib/locale_context.tsx";
import type { DashboardDeps } from "./dashboard.tsx";
import { renderPage } from "./page.tsx";

/** Schedules and when each is due next. */
export async function schedulesPage(c: Context, deps: DashboardDeps): Promise<Response> {
  return await renderPage(c, deps.assets, {
    title: (t) => t("nav.schedules"),
    nav: "schedules",
    main: <Schedules />,
  });
}

function Schedules() {
  const { t } = useLocale();
  return (
    <>
      <div class="page-head">
        <h1>{t("nav.schedules")}</h1>
      </div>
      <p class="lead">{t("resource.schedules_about")}</p>
      <section class="card" aria-label={t("nav.schedules")}>
        <p class="empty">{t("overview.no_schedules")}</p>
      </section>
    </>
  );
}
