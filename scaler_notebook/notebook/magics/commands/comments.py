"""Comments at the end of a magic's line, where IPython leaves them: Python's after an expression, else a shell's.

The two differ where no blank is before the comment: ``f(x)# why`` has a comment, and ``name#1`` is a word.
"""

import io
import re
import tokenize

# The group is what stays: words with their quotes and escapes, blanks, and an unclosed quote with all that follows.
WORDS_OR_COMMENT = re.compile(r"""((?!\#)(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s\\'"])+|\s+|['"\\].*)|\#.*""", re.DOTALL)


def strip_word_comment(line: str) -> str:
    """Remove a shell's comment from a line of words."""
    return WORDS_OR_COMMENT.sub(r"\1", line)


def strip_expression_comment(text: str) -> str:
    """Remove Python's comment from the last line of an expression.

    A text that cannot be read stays whole, so that the error shows what was typed.
    """
    last = text.count("\n") + 1  # a comment on an earlier line is within brackets: Python skips it
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.ERRORTOKEN:  # before Python 3.12: an unclosed quote, for instance
                break
            if token.type == tokenize.COMMENT and token.start[0] == last:
                return text[: -len(token.string)].rstrip()
    except (tokenize.TokenError, SyntaxError):
        pass
    return text
