"""Search in Chinese without a list of words: every two signs that stand side by side are a word."""

import re
from itertools import pairwise

from sphinx.search.zh import SearchChinese

SIGNS = r"[\u3400-\u4dbf\u4e00-\u9fff]+"

SPLITTER = """
var splitQuery = (query) => {
  const words = query.match(/[\\u3400-\\u4dbf\\u4e00-\\u9fff]+|[A-Za-z0-9_]+/g) || [];
  return words.flatMap((word) => {
    if (!/[\\u3400-\\u9fff]/.test(word) || word.length < 3) return [word];
    return [...word].slice(1).map((sign, at) => word[at] + sign);
  });
};
"""


class ChineseInPairs(SearchChinese):
    """Signs and pairs of signs are found; a longer query is found where all its pairs are."""

    language_name = "English"  # whose stemmer it brings for the words that are not Chinese
    js_splitter_code = SPLITTER

    def split(self, input):
        latin = self.latin1_letters.findall(input)
        self.latin_terms.update(latin)
        runs = re.findall(SIGNS, input)
        return [*(part for run in runs for part in (*run, *map("".join, pairwise(run)))), *latin]

    def word_filter(self, stemmed_word):
        return len(stemmed_word) > 1 or bool(re.match(SIGNS, stemmed_word))
