/// <reference lib="dom" />
import { useState } from "preact/hooks";
import { useLocale } from "../lib/locale_context.tsx";
import { useCurlHeader } from "../lib/viewer.tsx";
import { Icon } from "../ui/icon.tsx";
import { type Conf, type Dialect, equivalent } from "./conf.ts";

const DIALECTS: Dialect[] = ["curl", "cli", "sql"];

/** The request that the form stands for, to be made from elsewhere. */
export function Equivalents({ conf, origin }: { conf: Conf; origin: string }) {
  const { t } = useLocale();
  const header = useCurlHeader();
  const [dialect, setDialect] = useState<Dialect>("curl");
  const [copied, setCopied] = useState(false);
  const text = equivalent(dialect, conf, { origin, header });
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    const next = DIALECTS[(DIALECTS.indexOf(dialect) + step + DIALECTS.length) % DIALECTS.length]!;
    setDialect(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <section class="card" aria-labelledby="equivalent-title">
      <div class="card-head centred">
        <h2 id="equivalent-title">{t("form.equivalent")}</h2>
        <div class="segmented" role="tablist" aria-labelledby="equivalent-title">
          {DIALECTS.map((each) => (
            <button
              type="button"
              role="tab"
              id={`tab-${each}`}
              key={each}
              aria-selected={dialect === each}
              aria-controls="equivalent-panel"
              tabIndex={dialect === each ? 0 : -1}
              onClick={() => setDialect(each)}
              onKeyDown={onKeyDown}
            >
              {t(`form.${each}`)}
            </button>
          ))}
        </div>
      </div>
      <div id="equivalent-panel" role="tabpanel" aria-labelledby={`tab-${dialect}`} tabIndex={0}>
        <pre class="code equivalent"><code>{text}</code></pre>
      </div>
      <button type="button" class="button only-with-script" onClick={copy}>
        <Icon name={copied ? "check" : "copy"} /> {t(copied ? "action.copied" : "action.copy")}
      </button>
    </section>
  );
}
