"""Named sources of cases: public layouts, a simulator that knows the whole truth, and text built from labels.

Import the module you need:

* `vesalius.sources.registry`: `layouts()` lists what can be read; `import_folder(folder)` reads it.
* `vesalius.sources.detect`: which layout a folder is in, and why.
* `vesalius.sources.convert`: cases written in another layout.
* `vesalius.sources.builders`: sentences from labels, class balance.
* `vesalius.sources.open_sets`: small parts of open data sets with tables of their own.
* `vesalius.sources.terms`: disease names with synonyms from an OBO file.
"""
