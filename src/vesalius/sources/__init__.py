"""Named sources of cases: public layouts, a simulator that knows the whole truth, and text built from labels.

Import the module you need:

* `vesalius.sources.layouts.registry`: `layouts()` lists what can be read; `import_folder(folder)` reads it.
* `vesalius.sources.layouts.detect`: which layout a folder is in, and why.
* `vesalius.sources.layouts.convert`: cases written in another layout.
* `vesalius.sources.builders`: sentences from labels, class balance.
* `vesalius.sources.open_sets.readers`: small parts of open data sets with tables of their own.
* `vesalius.sources.terms`: disease names with synonyms from an OBO file.
"""
