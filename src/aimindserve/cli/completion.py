"""Print what makes a shell complete commands and flags with the Tab key."""

import click
from click.shell_completion import get_completion_class

from aimindserve.cli._failure import CommandError
from aimindserve.cli._words import words


@click.command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.option("--program", default="aimindserve", show_default=True, help="Command to complete.")
def completion(shell: str, program: str) -> None:
    """Print what makes a shell complete commands and flags with the Tab key.

    \b
    bash: eval "$(aimindserve completion bash)"     in ~/.bashrc
    zsh:  eval "$(aimindserve completion zsh)"      in ~/.zshrc
    fish: aimindserve completion fish | source      in ~/.config/fish/config.fish
    """
    from aimindserve.cli.app import main

    found = get_completion_class(shell)
    if found is None:
        raise CommandError(words("Completion for {shell} is not available here.", shell=shell))
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    click.echo(found(main, {}, program, variable).source())


COMMAND = completion
