"""The command group `evenly metadata`: build a concept list, and look at one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from evenly.flows.cli import CommandGroup
from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import FINDING
from evenly.flows.cli.output import counted, print_facts, print_rows, print_text, printable
from evenly.signatures import Named, fields_of, taking


@dataclass(frozen=True, kw_only=True)
class ConceptListOptions:
    """Options of `evenly metadata build`."""

    language: Annotated[str, "en: MetaCLIP's thresholds; any other code: MetaCLIP 2's."] = "en"
    own: Annotated[Path | None, Named("--list"), "Words of your own, as a concept list; first in."] = None
    wordnet: Annotated[
        str | None, "auto, nouns, timm, a folder of WordNet's database, an OMW .tab, or one lemma per line."
    ] = None
    lemmas: Annotated[str, "all of a synset, or the first, as MetaCLIP takes it."] = "all"
    unigrams: Annotated[str | None, "wordfreq, wordsegment, symspellpy, or a file of word, tab, count."] = None
    bigrams: Annotated[str | None, "wordsegment, symspellpy, or a file of two words, tab, count."] = None
    corpus: Annotated[str | None, "Count words and pairs in these files: .parquet, .csv or .jsonl, by pattern."] = None
    caption: Annotated[str, "The column of the corpus that holds text."] = "caption"
    mode: Annotated[str, "faithful or normalized: how matching will cut the words."] = "faithful"
    titles: Annotated[Path | None, "Titles, one per line, or title, tab, views."] = None
    min_unigram_count: Annotated[int | None, "Default: 100; 1 outside English."] = None
    top_unigram_share: Annotated[float | None, "Default: 1; 0.1 outside English."] = None
    unigram_cap: Annotated[int, "Most words."] = 251_465
    min_pmi: Annotated[float, "Least PMI of a pair."] = 30.0
    min_bigram_count: Annotated[int, "Least count of a pair: PMI favours rare ones."] = 1
    bigram_cap: Annotated[int, "Most pairs."] = 100_646
    title_min_views: Annotated[int | None, "Default: 70; 0 outside English."] = None
    top_title_share: Annotated[float | None, "Default: 1; 0.76 outside English."] = None
    title_cap: Annotated[int, "Most titles."] = 61_235
    max_entries: Annotated[int, "Where the list ends."] = 500_000
    max_characters: Annotated[int, "Of one entry."] = 256
    pmi_above_least: Annotated[
        bool | None,
        Named("--pmi-above-least/--pmi-at-least"),
        "Whether a pair at --min-pmi stays out. Default: outside English.",
    ] = None
    function_words: Annotated[
        bool | None,
        Named("--function-words/--no-function-words"),
        "Whether words of grammar, letters, and nouns with an article stay in. Default: outside English.",
    ] = None
    numbers: Annotated[bool, "Begin with 0 to 99."] = True
    force: Annotated[bool, "Overwrite a list that is there."] = False


@taking(ConceptListOptions)
def build_command(
    out: Annotated[Path, "The list to write, ending in .parquet."], options: ConceptListOptions
) -> dict[str, Any]:
    """Build a concept list: numbers, own words, WordNet, words, pairs of words, titles, in this order.

    Example: evenly metadata build --out en.parquet --wordnet auto --unigrams wordfreq --bigrams wordsegment --min-pmi 3
    """
    from evenly.curation.concepts.sources import MetadataRule
    from evenly.tasks.pools.concept_lists import ListSources, build_concept_list

    sources = ListSources(**fields_of(ListSources, options))
    rule = MetadataRule.of_language(options.language, **fields_of(MetadataRule, options))
    return build_concept_list(out, sources, rule, overwrite=options.force)


def _print_built(built: dict[str, Any]) -> None:
    rows = [
        {"source": source} | count | {"left_out": counted(count["left_out"])}
        for source, count in built["counts"].items()
    ]
    print_rows(f"{built['entries']:,} entries", rows, ("source", "offered", "kept", "new", "left_out"))
    _print_never_matching(built["never_matching"])
    for source, origin in built["origins"].items():
        print_text(f"{source:<8} {printable(origin['origin'])}")
    for remark in built["remarks"]:
        print_text(f"note: {remark}")
    print_text(f"list      {built['list']}\nleft out  {built['left_out']}\nidentity  {built['identity']}")


def show_metadata_command(
    path: Annotated[Path, typer.Argument(metavar="LIST", help="A built list, a text file or a JSON file.")],
    entry: Annotated[str | None, "Look this entry up; exit status 1 where it is not there."] = None,
) -> dict[str, Any]:
    """Show what a concept list holds, what of it can never match, and what it says of one entry.

    Example: evenly metadata show en.parquet --entry "black dog"
    """
    from evenly.tasks.pools.concept_lists import look_up, show_list

    return show_list(path) if entry is None else look_up(path, entry)


def _print_list(facts: dict[str, Any]) -> None:
    if "entry" in facts:
        _print_entry(facts)
        return
    rows = [
        {"source": source, **count, "examples": ", ".join(count["examples"])}
        for source, count in facts["sources"].items()
    ]
    print_rows(f"{facts['entries']:,} entries", rows)
    if languages := facts["languages"]:
        print_rows("languages", [{"language": language, "entries": count} for language, count in languages.items()])
    _print_never_matching(facts["never_matching"])
    for language, unmatched in facts["never_matching_by_language"].items():
        _print_never_matching(unmatched, f"can never match in {language}, matched by language")
    left_out = [
        {"source": source, "reason": reason, "entries": count}
        for source, reasons in (*facts["left_out"].items(), ("file", facts["left_out_on_reading"]))
        for reason, count in reasons.items()
    ]
    if left_out:
        print_rows("left out", left_out)
    print_text(f"identity  {facts['identity']}")


def _print_entry(facts: dict[str, Any]) -> None:
    for row in facts["found"]:
        print_text(f"`{printable(facts['entry'])}`")
        print_facts(row)
    if not facts["found"]:
        print_text(f"`{printable(facts['entry'])}` is not in the list")
    if facts["left_out"]:
        print_rows("left out", facts["left_out"])
    for mode, can in facts["can_match"].items():
        reason = f"{can['why_not']}, `{printable(can['same_as'])}`" if "same_as" in can else can["why_not"]
        print_text(f"{mode:<11} {'can match' if can['can'] else 'can never match: ' + reason}")
    if facts["alike"]:
        print_text(f"the same in normalized mode: {printable(', '.join(facts['alike']))}")


def _print_never_matching(unmatched: dict[str, dict[str, Any]], title: str = "can never match") -> None:
    rows = [
        {"mode": mode, "reason": reason, "entries": count["entries"], "examples": ", ".join(_examples(count))}
        for mode, reasons in unmatched.items()
        for reason, count in reasons.items()
    ]
    if rows:
        print_rows(title, rows)


def _examples(counts: dict[str, Any]) -> list[str]:
    """The examples of a reason, each with the entry that stands for it where one does."""
    if "same_as" not in counts:
        return list(counts["examples"])
    return [f"{entry} (as {twin})" for entry, twin in zip(counts["examples"], counts["same_as"], strict=True)]


GROUP = typer.Typer(cls=CommandGroup, help="Build concept lists, and look at what they hold.", no_args_is_help=True)
GROUP.command("build")(typed(build_command, _print_built))
GROUP.command("show")(
    typed(show_metadata_command, _print_list, status=lambda facts: 0 if facts.get("found", True) else FINDING)
)
