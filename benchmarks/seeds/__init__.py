"""The seed pages, played: every request that they print, sent to a relay, its answer checked.

`requests.yaml` restates the requests and what the pages promise; `printed` reads it. `pages` finds
the requests in the pages themselves, for the test that none is missing. `play` sends a request,
`checks` judges the answer, `snippets` runs the pages' programs, `stage` is a relay of our own with
three fake providers behind it, each of which speaks its vendor's formats only.
"""
