"""The one exception that speaks to the user. Knows no module of the project."""


class UserError(Exception):
    """Something the user can mend: bad input, an unwritable folder, a file of another shape.

    The message is one line that says what is wrong and what to do. The command line prints it and
    exits with status 2; library code never catches it.
    """
