"""Pixels to numbers: model cards, the library of model files, the session that runs them, and the model's grid."""
