"""What the service and the trainer share: bundle cards, rendering, networks.

`card` and `render` need NumPy only, so the service imports them without torch.
`networks` is torch's room; only the trainer enters it.
"""
