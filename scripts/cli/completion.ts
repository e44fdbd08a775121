import type { Command, Option } from "./command.ts";
import { EXIT, UsageError } from "./exit_codes.ts";
import { COMMON_OPTIONS } from "./options.ts";

/** What a shell completes, of one command. */
interface Completed {
  name: string;
  summary: string;
  /** Names of its actions; empty: its arguments are files or names. */
  actions: string[];
  options: (Option & { name: string })[];
}

const SCRIPTS: Record<string, { install: string; write: (commands: Completed[]) => string }> = {
  bash: { install: "source <(etl completion bash)            in ~/.bashrc", write: bash },
  zsh: {
    install: "source <(etl completion zsh)             in ~/.zshrc, after compinit",
    write: zsh,
  },
  fish: {
    install: "etl completion fish | source             in ~/.config/fish/config.fish",
    write: fish,
  },
};

/** `etl completion`, of the commands that there are. */
export function completion(commands: () => Command[]): Command {
  return {
    name: "completion",
    summary: "shell completion for bash, zsh or fish",
    description:
      `Prints what a shell needs to complete etl's commands, actions and options with Tab.

${Object.values(SCRIPTS).map(({ install }) => `  ${install}`).join("\n")}

For the command \`etl\`; docs/first_table.md shows how to install it.`,
    arguments: [{ name: "SHELL", help: Object.keys(SCRIPTS).join(", ") }],
    actions: () => Object.keys(SCRIPTS),
    options: {},
    examples: Object.keys(SCRIPTS).map((shell) => `etl completion ${shell}`),
    run({ args, out }) {
      const shell = args[0]!;
      if (!Object.hasOwn(SCRIPTS, shell)) {
        throw new UsageError(
          `there is no completion for '${shell}', only for ${Object.keys(SCRIPTS).join(", ")}`,
        );
      }
      out.line(SCRIPTS[shell]!.write(commands().map(completed)).trimEnd());
      return Promise.resolve(EXIT.succeeded);
    },
  };
}

function completed({ name, summary, actions, options }: Command): Completed {
  return {
    name,
    summary,
    actions: actions?.() ?? [],
    options: Object.entries({ ...options, ...COMMON_OPTIONS })
      .map(([name, option]) => ({ ...option, name })),
  };
}

const optionNames = ({ options }: Completed) => options.map(({ name }) => `--${name}`);

/** Options after which a value comes, with which Tab completes files. */
const withValue = (commands: Completed[]) => [
  ...new Set(
    commands.flatMap(({ options }) => options.filter(({ type }) => type === "string")).map((
      { name },
    ) => `--${name}`),
  ),
];

function bash(commands: Completed[]): string {
  return `# bash completion for etl
_etl() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} options actions
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W '${
    commands.map(({ name }) => name).join(" ")
  } help --version' -- "$word"))
    return
  fi
  case $before in
    ${withValue(commands).join("|")})
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -f -- "$word")); return ;;
  esac
  case \${COMP_WORDS[1]} in
    help) actions='${commands.map(({ name }) => name).join(" ")} params sources' ;;
${
    commands.map((each) =>
      `    ${each.name}) options='${optionNames(each).join(" ")}' actions='${
        each.actions.join(" ")
      }' ;;`
    ).join("\n")
  }
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$word"))
  elif ((COMP_CWORD == 2)) && [[ -n $actions ]]; then
    COMPREPLY=($(compgen -W "$actions" -- "$word"))
  else
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -F _etl etl
`;
}

function zsh(commands: Completed[]): string {
  const described = (name: string, help: string) => quoted(`${name}:${help.replaceAll("\n", " ")}`);
  return `#compdef etl
_etl() {
  local -a commands options actions
  commands=(
${commands.map(({ name, summary }) => `    ${described(name, summary)}`).join("\n")}
    'help:how the tool or a command is used'
  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  case $words[CURRENT-1] in
    ${withValue(commands).join("|")}) _files; return ;;
  esac
  case $words[2] in
    help) _describe command commands; return ;;
${
    commands.map((each) =>
      `    ${each.name})
      actions=(${each.actions.join(" ")})
      options=(
${each.options.map(({ name, help }) => `        ${described(`--${name}`, help)}`).join("\n")}
      ) ;;`
    ).join("\n")
  }
  esac
  if [[ $words[CURRENT] == -* ]]; then
    _describe option options
  elif ((CURRENT == 3 && $#actions)); then
    compadd -a actions
  else
    _files
  fi
}
compdef _etl etl
`;
}

function fish(commands: Completed[]): string {
  const lines = [
    "# fish completion for etl",
    "function __etl_first",
    "    test (count (commandline -opc)) -eq 1",
    "end",
    "function __etl_in",
    "    set -l words (commandline -opc)",
    "    test (count $words) -ge 2; and test $words[2] = $argv[1]",
    "end",
    "function __etl_action",
    "    __etl_in $argv[1]; and test (count (commandline -opc)) -eq 2",
    "end",
    "complete -c etl -n __etl_first -f",
    `complete -c etl -n __etl_first -f -a help -d 'how the tool or a command is used'`,
    `complete -c etl -n '__etl_action help' -f -a ${
      quoted(commands.map(({ name }) => name).join(" "))
    }`,
  ];
  for (const { name, summary, actions, options } of commands) {
    lines.push(`complete -c etl -n __etl_first -f -a ${name} -d ${fishQuoted(summary)}`);
    if (actions.length > 0) {
      lines.push(`complete -c etl -n '__etl_action ${name}' -f -a '${actions.join(" ")}'`);
    }
    for (const option of options) {
      const short = option.short === undefined ? "" : ` -s ${option.short}`;
      const value = option.type === "string" ? " -r" : "";
      lines.push(
        `complete -c etl -n '__etl_in ${name}' -l ${option.name}${short}${value} -d ${
          fishQuoted(option.help)
        }`,
      );
    }
  }
  return `${lines.join("\n")}\n`;
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
const fishQuoted = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
