"""Slices in, scores out: select a bundle, decode, render, infer; closed series on to judge."""
