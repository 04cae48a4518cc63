"""The sample crawl: a few thousand pages of real documentation prose, made on this machine and packed as a crawl.

Every installation of this project already holds tens of megabytes of well-edited English under free licences: the
docstrings of the standard library and of the installed distributions, their READMEs and licence texts. This package
reads them (`sources`, `docstrings`: with `ast`, nothing is imported), understands their markup (`docmarkup`,
`markdown` -> `blocks`), lays them out as a small documentation web (`site`, `render`, `oddpages`) and packs that web
as Common Crawl does (`warc`). `build.build` is the pure whole, `stage.sample_crawl` the stage around it.

The same environment gives the same bytes: no clock, no randomness, no absolute path, sorted walks.
"""
