from __future__ import annotations

import gzip

import pytest

from atlas.errors import AtlasError
from atlas.sources.pubmed import pubmed_rows

ARTICLE = """<PubmedArticle><MedlineCitation><PMID Version="1">{pmid}</PMID>
<DateCompleted><Year>1999</Year></DateCompleted><Article><Journal><JournalIssue><PubDate>{date}
</PubDate></JournalIssue><Title>A  Journal</Title></Journal><ArticleTitle>On <i>E. coli</i>.
</ArticleTitle>{abstract}</Article></MedlineCitation><PubmedData><ArticleIdList>
<ArticleId>7</ArticleId></ArticleIdList></PubmedData></PubmedArticle>"""


def file_of(tmp_path, *articles, name="a.xml"):
    text = "<PubmedArticleSet>" + "".join(articles) + "</PubmedArticleSet>"
    file = tmp_path / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


@pytest.mark.parametrize("name", ["a.xml", "a.xml.gz"])
def test_articles(tmp_path, name):
    structured = (
        "<Abstract><AbstractText Label='AIM'>To see.</AbstractText>"
        "<AbstractText>It was\n seen.</AbstractText></Abstract>"
    )
    file = file_of(
        tmp_path,
        ARTICLE.format(pmid=1, date="<Year>1979</Year><Month>Jun</Month>", abstract=structured),
        ARTICLE.format(pmid=2, date="<MedlineDate>1977 Nov-1978 Jan</MedlineDate>", abstract=""),
        ARTICLE.format(pmid=3, date="", abstract=""),
        name=name,
    )
    first, second, third = pubmed_rows(file)
    assert first == {"pmid": "1", "year": 1979, "journal": "A Journal", "title": "On E. coli.",
                     "abstract": "To see. It was seen."}  # fmt: skip
    assert (second["year"], second["abstract"], third["year"]) == (1977, "", 0)


def test_a_file_that_is_not_whole(tmp_path):
    file = file_of(tmp_path, ARTICLE.format(pmid=1, date="", abstract=""), name="a.xml.gz")
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(AtlasError, match=r"a\.xml\.gz: cannot be read .*truncated"):
        list(pubmed_rows(file))
