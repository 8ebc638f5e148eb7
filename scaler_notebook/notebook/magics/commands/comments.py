"""Comments at the end of a magic's line, where IPython leaves them: Python's after an expression, else a shell's.

They differ after a word without a blank: ``f(x)# why`` has a comment, and ``name#1`` is a word.
"""

import io
import re
import tokenize

# What is kept: words with the quotes and escapes in them, blanks, and a quote that nobody closes with all that follows.
WORDS_OR_COMMENT = re.compile(r"""((?!\#)(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s\\'"])+|\s+|['"\\].*)|\#.*""", re.DOTALL)


def strip_word_comment(line: str) -> str:
    """Words as in a shell, up to the comment."""
    return WORDS_OR_COMMENT.sub(r"\1", line)


def strip_expression_comment(text: str) -> str:
    """Python up to the comment; all of it if it cannot be read, so that the error shows what was typed."""
    last = text.count("\n") + 1  # a comment further up is in the middle of a call: Python skips it
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.ERRORTOKEN:  # before Python 3.12: for instance a quote that nobody closes
                break
            if token.type == tokenize.COMMENT and token.start[0] == last:
                return text[: -len(token.string)].rstrip()
    except (tokenize.TokenError, SyntaxError):
        pass
    return text
