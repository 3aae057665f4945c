"""The manual pages and the shell completions, made of the code when ``sad`` is installed.

=================  ==============================================================================
``*.md``           the pages as people write them; a line ``{{name}}`` asks for a piece of the code
``pages``          which pages there are, and the pieces put in
``programs``       pieces of the command lines: options, verbs, exit codes
``settings``       pieces of the settings: each with type, range and default
``interfaces``     pieces of the Varlink files: methods, types and errors with their comments
``markdown``       text that Markdown leaves as it is
``roff``           Markdown to the language of manual pages
``__main__``       writes pages and completions into a folder
=================  ==============================================================================

Nothing imports this package: it needs the libraries of the extra ``manual``, the daemon does not.
"""
