"""Numbers that can be trusted: metrics, intervals and tests, with numpy and scipy only.

Each idea has a module (`classification`, `operating`, `intervals`, `inference`, `retrieval`, `detection`,
`segmentation`, `text`, `report`, `vqa`, `generation` ...). Every metric is described in `registry`: what it is, whose
definition, which direction is better, and what it does with an empty mask, one class, ties or NaN. Import the module
you need; this package imports nothing.
"""
