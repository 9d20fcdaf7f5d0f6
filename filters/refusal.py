"""Answers that are no answer: refused, empty, cut off, an echo, or with the scaffolding of the request in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl

from augment.language import SCRIPTS
from filters import Context
from filters.characters import characters
from filters.fold import fold


def _any(*patterns: str) -> str:
    return "(?i)" + "|".join(patterns).replace(r"\b", r"(?-u:\b)")  # a Unicode \b takes ten times as long


_TEMPLATE = _any(
    r"<\|[a-z_]{2,20}\|>|</?(?:s|think|tool_call)>|\[/?INST\]|<start_of_turn>|<<SYS>>",
    r"(?:^|\n)\s*#{0,4}\s*(?:assistant|system|user|human|助手|系统|用户)\s*[:：]\s",
    r"^\s*</?(?:question|answer|prompt|response|text|output)>",
    r"(?:^|\n)\s*(?:```json|\{\s*\"(?:prompt|question|response|answer|问题|回答)\"\s*:)",
)
_REWRITE = "(?:改写|重写|转写|仿写|润色|扩写|翻译|改编)"
_TALK = _any(
    rf"^\W*{_REWRITE}(?:后|结果|版本|如下)[^\n]{{0,12}}[:：]",
    rf"^\W*(?:(?:好的|当然|没问题|可以)\W*)?(?:以下|下面|这)[是为]?[^\n]{{0,16}}{_REWRITE}[^\n]{{0,12}}[:：]",
    r"^\W*(?:新的?)?(?:问题|提问|prompt|question)\s*[:：]",
    r"^\W*(?:版本|方案|改写)\s*[一1][:：]|^\W*(?:version|option) 1\s*:",
    r"只输出\s*json|(?:意思|原意)不变[，,]\s*不要回答|请(?:把|将)(?:下面|以下)的?(?:提问|问题|句子|文字|内容)[^。\n]{0,8}(?:换|改写|重写)",
    r"[（(【]\s*(?:注|说明|备注)\s*[:：][^）)】]{0,60}(?:改写|原文|原意|表述|保留|措辞)",
    r"[（(\[]note: [^)\]]{0,80}(?:rewr|rephras|reword|paraphras|original|wording)",
    r"^\W*(?:sure|certainly|of course|okay|ok)?\W*(?:here(?:'s| is| are)|below is)[^\n]{0,40}"
    r"\b(?:paraphras|rewrit|rephras|reword|version|variant)",
    r"^\W*(?:paraphrased?|rewritten|rephrased|reworded)(?: (?:question|text|version|prompt|answer))?\s*:",
)
_MODEL = "(?:ai|人工智能|语言模型|大模型|聊天机器人|智能助手|虚拟助手)"
_CANNOT = "(?:无法|不能|没办法|没法|不可以|不会|不便|不具备|没有能力)"
_SERVE = (
    "(?:回答|提供|协助|帮助|帮您|帮你|满足|完成|处理|继续|讨论|给出|改写|生成|为您|为你|对此|就此"
    "|(?:这个|该)(?:问题|请求|话题)|此类|这类)"
)
_SORRY = r"(?:很|非常|十分|实在)?(?:抱歉|对不起|不好意思|遗憾)"
_REFUSED = _any(
    rf"^\W*(?:{_SORRY}[^。！!\n]{{0,16}}?)?(?:作为|身为)[^，,。]{{0,24}}{_MODEL}[^。\n]{{0,20}}?{_CANNOT}",
    rf"^\W*(?:{_SORRY}[^。！!\n]{{0,16}}?)?我(?:是|只是)[^，,。]{{0,12}}{_MODEL}[^。\n]{{0,20}}?{_CANNOT}",
    rf"^\W*{_SORRY}\W*(?:我|本助手|目前|暂时|这个|您|你|该|此)[^。\n]{{0,12}}?{_CANNOT}[^。\n]{{0,6}}?{_SERVE}",
    rf"^\W*{_SORRY}[^。！!\n]{{0,20}}?(?:帮不了|回答不了|解答不了|不予置评|无可奉告|不便(?:进行)?(?:改写|回答|透露|评论))",
    rf"^\W*{_SORRY}\W*我{_CANNOT}(?:为您|为你|给您|给你|替您)?(?:判断|诊断|制定|评估|答复|开药)",
    rf"^[^。！!\n]{{0,30}}?(?:{_CANNOT}|无法|没有办法)(?:为您|为你|给您|给你)(?:解答|回答|答复|作答)",
    r"^[^。！!\n]{0,16}?我(?:暂时|目前|现在|恐怕)?(?:回答不了|解答不了|帮不了您|帮不了你|不予置评|无可奉告)",
    rf"^\W*我(?:目前|暂时|现在|恐怕|可能)?{_CANNOT}(?:直接|继续|为您|为你|对此|就此)?"
    r"(?:回答|提供|协助|满足|完成|讨论|给出|改写|生成)(?:这|该|此|您|你|相关|任何|医疗|具体)",
    r"^\W*(?:(?:i'?m|i am|we'?re|we are)\s)?(?:very |so |really |truly )?"
    r"(?:sorry|afraid|i apologi[sz]e|unfortunately)[^.\n]{0,24}?\b(?:i|we)\s*"
    r"(?:can't|cannot|can not|won't|am not able|am unable|'m not able|'m unable|are unable)",
    r"^\W*as an? (?:ai|artificial intelligence|large)(?:,| (?:language )?(?:model|assistant|chatbot))",
    r"^[^.!?\n]{0,100}\b(?:goes|is) against my (?:safety |content |usage )?(?:guidelines|polic|programming|rules)",
    r"^[^.!?\n]{0,60}\bi (?:won't be able|'m not able|am not able|'m unable|am unable) to"
    r" (?:help|assist|answer|provide)",
    r"^\W*i\s*(?:can't|cannot|can not|am unable to|'m unable to|won't)\s+"
    r"(?:help|assist|provide|answer|comply|fulfil|continue|rewrite|do that|give)",
)
_OPEN_END = _any(
    r"[,，、;；:：(（\[【“‘《<「『\-–—+=/&]\s*$",
    r"(?:和|或|与|及|以及|的|并且|因为|所以|如果|但是|而且|例如|比如|包括|以便|从而)\s*$",
    r"\b(?:and|or|the|a|an|of|to|with|for|because|if|but|such as|including|than|at least|no more|up to|about)\s*$",
)
_OPEN_PROMPT = _any(
    r"[,，、;；:：(（\[【“《\-–—]\s*$|(?:而且|并且|因为|所以|但是|可是|如果|以及|或者|例如|比如|包括|还有就是)\s*$",
    r"\b(?:and|or|the|a|an|of|to|with|for|because|if|but|than)\s*$",
    r"\b(?:before|after|when|because|while|if) (?:i|my|we|she|he|it)\s*$",
)
_CLOSED_END = r"[。．.！!？?…~～）)\]】”’\"'」』》>*|`\p{So}\p{Sk}]\s*$|https?://\S+\s*$"
_LONGER = 8
"""Characters that an echo may have beyond the question."""
_ALPHABETS = [list(SCRIPTS).index(name) for name in ("zh", "en")]
_LIST_END = r"(?:^|\n)\s*(?:[-*•·●]|[0-9]{1,2}[.、)）])[^\n]*$"


@dataclass(frozen=True)
class Refusal:
    """Drops refusals, empty and cut-off texts, echoes of the question, and talk about the rewriting itself.

    `cut_off` also asks that a new response of `cut_off_from` characters or more ends like a sentence or a
    list, as its parent's does. Only the start of a text is looked at for refusals and talk, so that questions
    about refusing or about AI stay.
    """

    cut_off: bool = True
    cut_off_from: int = 16
    name: ClassVar[str] = "refusal"
    cost: ClassVar[str] = "row"
    limits: ClassVar[dict[str, tuple[str, ...]]] = {
        "refusal_prompt": ("cut_off",),
        "refusal_unfinished": ("< cut_off_from", "cut_off"),
    }
    scores: ClassVar[dict[str, Any]] = {
        "refusal_prompt": pl.String,
        "refusal_response": pl.String,
        "refusal_unfinished": pl.Int64,
    }
    """What was found in the changed prompt and response; characters of a response without an end."""

    def score(self, frame: pl.DataFrame, context: Context) -> pl.DataFrame:
        rows = frame.with_row_index("_at")
        asked = rows.filter(pl.col("changed_fields").str.contains("prompt", literal=True))
        said = rows.filter(pl.col("changed_fields").str.contains("response", literal=True))
        found = (
            asked.select("_at", _of_question().alias("refusal_prompt")),
            said.select("_at", _of_answer(_echoes(said)).alias("refusal_response"), _unfinished()),
        )
        for each in found:
            rows = rows.join(each, on="_at", how="left", maintain_order="left")
        return rows.drop("_at")

    def verdict(self) -> pl.Expr:
        found = pl.coalesce("refusal_prompt", "refusal_response")
        why = found.replace_strict(_REASONS, default=None, return_dtype=pl.String)
        if not self.cut_off:
            return pl.when(found != "open").then(why)
        unfinished = pl.col("refusal_unfinished") >= self.cut_off_from
        return pl.coalesce(why, pl.when(unfinished).then(pl.lit("cut off")))


_REASONS = {
    "empty": "empty",
    "template": "has tokens of a chat template",
    "talk": "talks about the rewriting",
    "refused": "refused",
    "echo": "repeats the question",
    "open": "cut off",
}


def _of_question() -> pl.Expr:
    question = pl.col("prompt")
    was_open = _tail(pl.col("parent_prompt")).str.contains(_OPEN_PROMPT).fill_null(False)
    left_open = _tail(question).str.contains(_OPEN_PROMPT) & ~was_open
    return pl.coalesce(_found(question, ~question.str.contains("[?？]")), pl.when(left_open).then(pl.lit("open")))


def _of_answer(echoes: pl.Series) -> pl.Expr:
    answer = pl.col("response")
    restated = answer.str.contains(r"^\W*(?:您|你)的问题是\s*[:：]") & answer.str.contains(r"[?？]\W*$")
    return pl.coalesce(_found(answer, pl.lit(True)), pl.when(restated | echoes).then(pl.lit("echo")))


def _unfinished() -> pl.Expr:
    answer = pl.col("response")
    unfinished = _tail(answer).str.contains(_OPEN_END) | (
        ~_ended(answer) & _ended(pl.col("parent_response")).fill_null(True)
    )
    return pl.when(unfinished).then(answer.str.len_chars()).cast(pl.Int64).alias("refusal_unfinished")


def _echoes(rows: pl.DataFrame) -> pl.Series:
    """Of each row whether its folded answer is the folded question with 8 characters more at most.

    Folding keeps as many letters of English and Chinese: an answer that has too many is no echo, and is not folded.
    """
    asked = fold(rows["prompt"]).fill_null("")
    longest = asked.str.len_chars().to_numpy() + _LONGER
    letters = characters(rows["response"]).scripts()[:, _ALPHABETS].sum(axis=1)
    short = rows["response"].is_not_null() & rows["prompt"].is_not_null() & pl.Series(letters <= longest)
    said = fold(rows["response"].filter(short))
    both = pl.DataFrame({"asked": asked.filter(short), "said": said})
    holds = pl.col("said").str.contains(pl.col("asked"), literal=True)
    little_more = pl.col("said").str.len_chars() <= pl.col("asked").str.len_chars() + _LONGER
    echoes = np.zeros(len(rows), dtype=np.bool_)
    echoes[short.arg_true().to_numpy()] = both.select(holds & little_more).to_series().to_numpy()
    return pl.Series(echoes)


def _tail(text: pl.Expr) -> pl.Expr:
    """The end of a text, without the blanks after it: patterns of ends are slow on whole texts."""
    return text.str.strip_chars_end().str.tail(60)


def _ended(answer: pl.Expr) -> pl.Expr:
    return _tail(answer).str.contains(_CLOSED_END) | answer.str.contains(_LIST_END)


def _found(text: pl.Expr, may_refuse: pl.Expr) -> pl.Expr:
    start = text.str.slice(0, 200).str.replace_all("’", "'", literal=True)
    return (
        pl.when(~text.str.contains(r"[\p{L}\p{N}]"))
        .then(pl.lit("empty"))
        .when(text.str.contains(_TEMPLATE))
        .then(pl.lit("template"))
        .when(start.str.contains(_TALK))
        .then(pl.lit("talk"))
        .when(may_refuse & start.str.contains(_REFUSED))
        .then(pl.lit("refused"))
    )
