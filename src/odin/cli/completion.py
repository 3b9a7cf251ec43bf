"""``odin completion bash|zsh|fish``: a script for ``odin <word>`` and ``odin-<word>``, made from the parsers.

Words and options are in the script. Ids and names are the server's: at an argument that has them the script asks
``odin __complete`` (candidates.py), and does without where there is no answer. In bash and zsh the dashed form is
completed as if ``odin <word>`` had been typed, so that there is one script for both.
"""

from __future__ import annotations

import argparse

from odin.cli.candidates import LIVE
from odin.cli.entry import COMMANDS
from odin.cli.options import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = ("bash", "zsh", "fish")
EXAMPLES = (
    ("bash > ~/.local/share/bash-completion/completions/odin", "then open a new shell"),
    ("zsh > ~/.zfunc/_odin", "a folder of $fpath"),
    ("fish > ~/.config/fish/completions/odin.fish", ""),
)
DESCRIPTION = """\
Print a completion script, for this shell at once with: source <(odin completion bash)"""

BASH = """
_odin_live() {
  local word
  while IFS=$'\\t' read -r word _; do
    printf '%%s\\n' "$word"
  done < <(command odin __complete "${COMP_WORDS[@]:1}" 2>/dev/null </dev/null)
}

# The words up to the cursor: a URL stays one, --option=value becomes two.
_odin() {
  local word typed="${COMP_LINE:0:COMP_POINT}"
  local -a words
  IFS=$' \\t\\n' read -ra words <<<"$typed"
  [[ $typed == *[[:blank:]] ]] && words+=("")
  COMP_WORDS=()
  for word in "${words[@]}"; do
    if [[ $word == --?*=* ]]; then
      COMP_WORDS+=("${word%%%%=*}" "${word#*=}")
    else
      COMP_WORDS+=("$word")
    fi
  done
  word=${COMP_WORDS[0]##*/}
  [[ $word == odin-* ]] && COMP_WORDS=(odin "${word#odin-}" "${COMP_WORDS[@]:1}")
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  _shtab_odin
}
complete -o bashdefault -F _odin odin %s
"""

# As a file _odin of $fpath it is called to complete; sourced, it only registers itself.
ZSH = """
_odin_live() {
  [[ $PREFIX == -* ]] && return 1
  local -a found
  found=("${(@f)$(command odin __complete $word "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null </dev/null)}")
  [[ -n $found[1] ]] || return 1
  found=("${(@)found/$'\\t'/:}")
  _describe -t odin 'from the server' found
}

_odin() {
  local word
  if [[ $service == odin-* ]]; then
    word=${service#odin-}
  elif (( CURRENT == 2 )); then
    _shtab_odin_commands
    return
  else
    shift words
    (( CURRENT -= 1 ))
    word=$words[1]
  fi
  local -a options
  options=("${(@P)${:-_shtab_odin_${word}_options}}")
  _arguments -s $options
}

if [[ $funcstack[1] == _odin ]]; then
  _odin "$@"
else
  compdef _odin odin %s
fi
"""

FISH = """
function __odin_live
    set -l words (commandline -opc)
    set -l name (string replace -r '.*/' '' -- $words[1])
    if string match -q 'odin-*' -- $name
        set words[1] (string replace 'odin-' '' -- $name)
    else
        set -e words[1]
    end
    command odin __complete $words (commandline -ct) 2>/dev/null </dev/null
end
"""


def parser(prog: str) -> Parser:
    made = Parser(prog, DESCRIPTION, EXAMPLES, environment=False)
    made.add_argument("shell", choices=SHELLS)
    return made


def main(options: argparse.Namespace) -> int:
    print({"bash": bash, "zsh": zsh, "fish": fish}[options.shell]())
    return 0


def dashed() -> list[str]:
    return [f"odin-{word}" for word in COMMANDS if word != "completion"]


def parsers() -> dict[str, Parser]:
    modules = {word: __import__(f"odin.cli.{word}", fromlist=["parser"]) for word in COMMANDS}
    return {word: module.parser(f"odin {word}") for word, module in modules.items()}


def whole() -> argparse.ArgumentParser:
    """One parser with every command as a sub-parser, as shtab wants it."""
    top = argparse.ArgumentParser(prog="odin", description="Runs machine-learning pipelines")
    words = top.add_subparsers()
    for word, made in parsers().items():
        mark_live(word, made)
        one = words.add_parser(word, help=COMMANDS[word], parents=[made], add_help=False, conflict_handler="resolve")
        # argparse offers no other way to a parser's options; --x:KEY stands for any name, so it is none to complete
        one._actions[:] = [action for action in one._actions if "--x:KEY" not in action.option_strings]
        for action in one._actions:
            mark_files(action)
    return top


def mark_live(word: str, made: Parser) -> None:
    for action in made._actions:
        if (word, action.dest) in LIVE:
            vars(action)["complete"] = {"bash": "_odin_live", "zsh": "_odin_live"}


def mark_files(action: argparse.Action) -> None:
    import shtab

    if action.metavar in ("FILE", "DIR") and not hasattr(action, "complete"):
        vars(action)["complete"] = shtab.FILE if action.metavar == "FILE" else shtab.DIRECTORY


def bash() -> str:
    import shtab

    return str(shtab.complete(whole(), "bash")) + BASH % " ".join(dashed())


def zsh() -> str:
    """shtab's tables of options under a function of ours, since its own completes one command's name only."""
    import shtab

    names = " ".join(dashed())
    tables, _, _ = str(shtab.complete(whole(), "zsh")).partition("\n_shtab_odin() {")
    # A positional that nothing can complete would keep zsh from inserting the only option that fits.
    lines = [line for line in tables.split("\n") if not (line.startswith(('  ":', '  "(*)')) and line.endswith(':"'))]
    return "\n".join(lines).replace("#compdef odin\n", f"#compdef odin {names}\n", 1) + ZSH % names


def fish() -> str:
    """fish reads one ``complete`` line for each option; shtab does not write them."""
    lines = ["# completion of odin for fish; made by: odin completion fish", FISH]
    lines += [
        f"complete -c odin -n __fish_use_subcommand -f -a {word} -d {quoted(summary)}"
        for word, summary in COMMANDS.items()
    ]
    for word, made in parsers().items():
        for facts in dict.fromkeys(options_of(word, made)):
            lines.append(f"complete -c odin -n '__fish_seen_subcommand_from {word}' {facts}")
            if word != "completion":
                lines.append(f"complete -c odin-{word} {facts}")
    return "\n".join(lines)


def options_of(word: str, made: Parser) -> Iterator[str]:
    """The arguments of fish's ``complete`` for each option, each choice of a positional and what the server knows."""
    for action in made._actions:
        names = [f"-s {flag[1:]}" if len(flag) == 2 else f"-l {flag[2:]}" for flag in action.option_strings]
        live = (word, action.dest) in LIVE
        if (not names and not action.choices and not live) or "--x:KEY" in action.option_strings:
            continue
        choices = f"-a {quoted(' '.join(map(str, action.choices)))}" if action.choices else ""
        choices = "-a '(__odin_live)'" if live else choices
        takes_value = "" if not action.option_strings or action.nargs == 0 else "-r"
        files = "" if takes_files(word, action if names else made) else "-f"
        help_text = f"-d {quoted(action.help)}" if action.help and (names or not live) else ""
        yield " ".join(part for part in (*names, takes_value, files, choices, help_text) if part)


def takes_files(word: str, of: argparse.Action | Parser) -> bool:
    """Whether an option, or a command's arguments, may be files of this machine."""
    actions = [of] if isinstance(of, argparse.Action) else of._get_positional_actions()
    return any(action.metavar in ("FILE", "DIR") and (word, action.dest) not in LIVE for action in actions)


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
