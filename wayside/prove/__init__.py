"""The proof that nothing was lost or counted twice: a naive twin of the final rows, and the comparison with it."""
