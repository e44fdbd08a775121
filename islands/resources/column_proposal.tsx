/// <reference lib="dom" />
import { useState } from "preact/hooks";
import type { ColumnProposal as Proposal } from "../../store/typed_views.ts";
import { type ApiError, call } from "../lib/api.ts";
import { useLocale } from "../lib/locale_context.tsx";
import { Notice } from "../ui/notice.tsx";

interface ColumnProposalProps {
  /** API of the dataset's columns. */
  path: string;
  onProposal(columns: Proposal["columns"]): void;
}

/** Puts columns that fit the data into the editor. */
export function ColumnProposal({ path, onProposal }: ColumnProposalProps) {
  const { t, number } = useLocale();
  const [outcome, setOutcome] = useState<{ kind: "good" | "problem"; text: string } | null>(null);
  const propose = async () => {
    try {
      const { columns, rows } = await call<Proposal>(`${path}/proposal`, {
        offline: t("error.network"),
      });
      onProposal(columns);
      setOutcome({ kind: "good", text: t("resource.proposed", { rows: number(rows) }) });
    } catch (error) {
      setOutcome({ kind: "problem", text: (error as ApiError).message });
    }
  };
  return (
    <div class="stack tight">
      <div>
        <button type="button" class="button" onClick={propose}>{t("resource.propose")}</button>
      </div>
      <div role="status">
        {outcome !== null && <Notice kind={outcome.kind} title={outcome.text} />}
      </div>
    </div>
  );
}
