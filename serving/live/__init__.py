"""The live model: questions that the snapshot does not hold the answer of."""
