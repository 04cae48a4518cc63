"""ChatML: how a conversation becomes text and token ids.

    <|im_start|>user
    What is a heap?<|im_end|>
    <|im_start|>assistant
    A heap is a binary tree …<|im_end|>

Three rules hold everywhere a conversation is rendered:

- The markers enter as ids. Content is encoded as ordinary text, so a user who types `<|im_end|>` ends nothing.
- n messages render to a prefix of n + 1 messages, and a prompt to a prefix of its conversation: what the model is
  asked with is what it was trained on. Content is therefore stripped, or `assistant\\n` and a leading newline of the
  answer could become one token.
- The loss covers what the model must write: an assistant's content and the `<|im_end|>` after it, not the header.

`CHAT_TEMPLATE` says the same to `transformers`; a test holds the two together.
"""

from collections.abc import Callable, Sequence
from typing import TypedDict

from infra.errors import BadInput

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
ROLES = ("system", "user", "assistant")

# `generation` marks what `apply_chat_template(return_assistant_tokens_mask=True)` counts as the assistant's.
CHAT_TEMPLATE = """\
{%- for message in messages %}
    {%- if message['role'] not in ['system', 'user', 'assistant'] %}
        {{- raise_exception('unknown role ' + message['role'] + '; known: system, user, assistant') }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' }}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}
            {{- message['content'] | trim + '<|im_end|>' }}
        {%- endgeneration %}
    {%- else %}
        {{- message['content'] | trim + '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


class Message(TypedDict):
    """One turn. `role` is one of ROLES, `content` is plain text."""

    role: str
    content: str


def render(
    messages: Sequence[Message],
    encode: Callable[[str], list[int]],
    im_start: int,
    im_end: int,
    add_generation_prompt: bool = False,
) -> tuple[list[int], list[int]]:
    """Token ids and loss mask of a conversation.

    Args:
        messages: the turns in order.
        encode: text -> ids, ordinary tokens only.
        im_start, im_end: ids of the two markers.
        add_generation_prompt: end with the header of the answer to come.

    Returns:
        (ids, loss_mask), equally long; the mask is 1 where the token is one that the model is trained to write.

    Raises:
        BadInput: a turn has an unknown role or no text.
    """
    ids: list[int] = []
    loss_mask: list[int] = []

    def add(tokens: list[int], trained: int) -> None:
        ids.extend(tokens)
        loss_mask.extend([trained] * len(tokens))

    newline = encode("\n")
    for index, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES or not isinstance(content, str):
            raise BadInput(f"message {index}: needs a role out of {', '.join(ROLES)} and a text, has {message!r:.200}")
        add([im_start, *encode(f"{role}\n")], 0)
        add([*encode(content.strip()), im_end], int(role == "assistant"))
        add(newline, 0)
    if add_generation_prompt:
        add([im_start, *encode("assistant\n")], 0)
    return ids, loss_mask
