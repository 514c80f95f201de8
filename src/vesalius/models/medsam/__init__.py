"""LiteMedSAM (Ma et al., Nature Communications 2024; arXiv 2304.12306) behind the capability `Segmenter`."""
