import assert from "node:assert/strict";
import { COMMANDS } from "../../scripts/cli/command_table.ts";
import { COMMON_OPTIONS } from "../../scripts/cli/options.ts";
import { Terminal } from "../../scripts/terminal.ts";
import { lacks } from "../helpers/needs.ts";

/** What each shell has to answer: words so far, and the whole word it offers. */
const CASES = [
  { words: "qua", offered: "quarantine" },
  { words: "load --ke", offered: "--key" },
  { words: "suite tr", offered: "try" },
  { words: "completion fi", offered: "fish" },
  { words: "help sch", offered: "schedule" },
];

/** What asks a shell, with the script's path and the cases' words as arguments; prints an answer a line. */
const ASKS: Record<string, string> = {
  bash: `source "$1"; shift
for words; do
  COMP_WORDS=(etl $words); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _etl 2>/dev/null; echo "\${COMPREPLY[*]}"
done`,
  fish: `source $argv[1]
for words in $argv[2..-1]
  complete -C "etl $words" | string split -f1 \\t
end`,
  // Tab itself, on a terminal of zsh's own
  zsh: `zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PROMPT= RPROMPT=; unsetopt zle_bracketed_paste; autoload -U compinit; compinit -u -D; source $1"
zpty -w z 'etl() { print -r -- "GOT[$@[-1]]" }; print REA""DY'
zpty -r -m z out '*READY*'
shift
for words; do
  zpty -w -n z "etl $words"$'\\t\\n'
  zpty -r -m z out '*GOT\\[*\\]*'
  print -r -- "\${\${out##*GOT\\[}%%\\]*}"
done
zpty -d z`,
};

async function scriptOf(shell: string): Promise<string> {
  let text = "";
  const command = COMMANDS.find(({ name }) => name === "completion")!;
  const out = new Terminal({ isTerminal: false, write: (part) => text += part });
  await command.run({ args: [shell], out } as never);
  return text;
}

const installed = (shell: string) => {
  try {
    return new Deno.Command("which", { args: [shell], stdout: "null" }).outputSync().success;
  } catch {
    return false;
  }
};

for (const [shell, ask] of Object.entries(ASKS)) {
  Deno.test({
    name: `etl completion ${shell}: the shell completes commands, actions and options`,
    ignore: lacks(installed(shell), `Debian's ${shell} has completion tried in it`),
    async fn() {
      const dir = await Deno.makeTempDir({ prefix: "etl_completion_" });
      try {
        const path = `${dir}/etl.${shell}`;
        await Deno.writeTextFile(path, await scriptOf(shell));
        const words = CASES.map(({ words }) => words);
        const { stdout, stderr } = await new Deno.Command("timeout", {
          args: [
            ...["30", shell, "-c", ask],
            ...(shell === "fish" ? [] : [shell]),
            path,
            ...words,
          ],
          env: { HOME: dir, TERM: "xterm" },
          stdin: "null",
        }).output();
        const [out = "", err = ""] = [stdout, stderr].map((bytes) =>
          new TextDecoder().decode(bytes)
        );
        assert.deepEqual(out.trim().split("\n"), CASES.map(({ offered }) => offered), err);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
}

Deno.test("completion scripts name every command and every option that it has", async () => {
  for (const shell of Object.keys(ASKS)) {
    const script = await scriptOf(shell);
    for (const { name, options } of COMMANDS) {
      assert.ok(script.includes(name), `${shell}: ${name}`);
      for (const option of Object.keys({ ...COMMON_OPTIONS, ...options })) {
        const written = shell === "fish" ? `-l ${option}` : `--${option}`;
        assert.ok(script.includes(written), `${shell}: ${name} --${option}`);
      }
    }
  }
});
