/// <reference lib="dom" />
import { useState } from "preact/hooks";
import { mount } from "./lib/mount.tsx";
import { type ApiError, call } from "./lib/api.ts";
import { useLocale, useRole } from "./lib/context.tsx";
import { Icon } from "./ui/elements.tsx";

/** Has the downstream example report now, then shows what it says. */
export function RunReport() {
  const { t } = useLocale();
  const operator = useRole("operator");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const run = async () => {
    setBusy(true);
    setFailure(null);
    try {
      await call("/api/etl/downstream?wait=true", {
        method: "POST",
        body: {},
        offline: t("error.network"),
      });
      location.reload();
    } catch (error) {
      setFailure((error as ApiError).message);
      setBusy(false);
    }
  };
  return (
    <>
      {failure !== null && <span class="is-bad" role="alert">{failure}</span>}
      <button
        type="button"
        class="button only-with-script"
        onClick={run}
        {...operator.control(busy)}
      >
        <Icon name="play" /> {t(busy ? "reports.running" : "reports.run")}
      </button>
    </>
  );
}

mount("report", RunReport);
