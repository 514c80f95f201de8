"""Words: report sections, negation and uncertainty, findings, prompts, and text from strangers.

Pure Python over JSON tables in `text/data`; nothing here imports torch. Import the module you need:

* `vesalius.text.prompts`: sentences for image-text training and zero-shot classification.
* `vesalius.text.sections`, `sentences`, `tokens`: where text begins and ends.
* `vesalius.text.lexicon`, `context`, `findings`: what a report says, and whether it affirms it.
* `vesalius.text.answers`: yes/no and numbers in free answers.
* `vesalius.text.safety`: text from strangers is data, never an instruction.
"""
