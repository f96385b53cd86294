"""The template of the European Commission for the public summary of training content, as a table of its fields.

The structure is that of the Explanatory Notice and Template of 24 July 2025 for Article 53(1)(d) of Regulation (EU)
2024/1689, as summaries published by it have it. Each field is answered by the facts of a build, by the provider, or
by both; where neither does, it says what must be said. docs/summary.md says what this is not.
"""

from typing import NamedTuple


class TemplateField(NamedTuple):
    """A field of the template.

    number: the section's. records: what of the records answers it. provider: the path of the provider's answer.
    condition: when it is asked. must_say: what must be said where nothing answers it; "-": it may stay empty.
    """

    number: str
    question: str
    records: str
    provider: str
    condition: str
    must_say: str


_TABLE = """
1.1   | Provider name | | name | | the provider's name.
1.1   | Contact details | | contact | | how to reach you.
1.1   | Authorised representative name and contact details | | representative | | who represents you in the Union, where you are established outside it.
1.2   | Versioned model name(s) | | model.names | | the names and versions of the model.
1.2   | Model dependencies | | model.dependencies | | which model it was made from, with its summary, or that there is none.
1.2   | Date of placement of the model on the Union market | | model.placed_on_market | | the date.
1.3   | Modalities | modalities | | |
1.3   | Training data size: text | text_size | | |
1.3   | Types of content: text | | text_content | | which kinds of text.
1.3   | Training data size: image | image_size | | |
1.3   | Types of content: image | | image_content | pictures | which kinds of images.
1.3   | Latest date of data acquisition or collection | latest | latest_data | | when the data was acquired last.
1.3   | Linguistic characteristics of the overall training data | languages | languages | | which languages; no step of the build detected them.
1.3   | Other relevant characteristics | | characteristics | | other characteristics of the data, such as regions.
2.1   | Were publicly available datasets used? | has_public | | | the section of each source, under `sources` of the provider's file.
2.1   | Modalities of these | modalities_public | | public |
2.1   | Large publicly available datasets | list_public | | public |
2.1   | Other publicly available datasets | | other_public | public | a general description of those that are not listed, or that there are none.
2.2.1 | Are there commercial licence agreements with rightsholders? | has_licensed | licensed_agreements | | whether you licensed data from rightsholders or those who represent them.
2.2.1 | Modalities of these | modalities_licensed | | licensed |
2.2.2 | Were private datasets of other third parties obtained? | has_third_party | | | the section of each source, under `sources` of the provider's file.
2.2.2 | Modalities of these | modalities_third_party | | third_party |
2.2.2 | Those that are publicly known | list_third_party | | third_party |
2.2.2 | Those that are not publicly known | | other_third_party | third_party | a general description.
2.3   | Were crawlers used by the provider or on its behalf? | crawled | | |
2.3   | Crawler names | agent | | crawled |
2.3   | Purposes of the crawlers | | crawler.purposes | crawled | what the crawler was for.
2.3   | Behaviour of the crawlers | behaviour | crawler.behaviour | crawled |
2.3   | Period of data collection | period | | crawled | when: the records of downloads are not in this workspace.
2.3   | Type of content and online sources crawled | content | crawler.content | crawled |
2.3   | Modalities covered | modality_crawled | | crawled |
2.3   | Most relevant domain names crawled | domains | | crawled |
2.4   | Was data of interactions of users with the model used? | | user_data.interactions | | yes or no.
2.4   | Was data of users of your other services used? | | user_data.services | | yes or no.
2.4   | Services that it came from | list_users | user_data.description | users | which services.
2.4   | Modalities covered | modalities_users | | users_source |
2.5   | Was synthetic data made by the provider or on its behalf? | synthetic | synthetic.used | |
2.5   | Modality of the synthetic data | modality_synthetic | | synthetic | which.
2.5   | General-purpose models on the market that made it | | synthetic.market_models | synthetic | which, or none.
2.5   | Other models that made it | caption_models | synthetic.other_models | synthetic | which, or none.
2.6   | Were other sources used? | has_other | other_sources | | yes or no.
2.6   | What these are | list_other | other_description | other | what they are.
3.1   | Did you sign the Code of Practice, with its commitments on reservations? | | code_of_practice | | yes or no.
3.1   | Measures to respect reservations of rights | reservations | reservations | |
3.2   | Measures to remove illegal content | illegal | illegal_content | | what was done; the build has no step for it (`safety` in a recipe).
3.3   | Other information about the processing | processing | other | | -
"""  # noqa: E501 - a row each
FIELDS = tuple(TemplateField(*(part.strip() for part in line.split("|"))) for line in _TABLE.strip().splitlines())
"""The fields in the order of the template."""
