"""SAC, self-supervised augmentation consistency (Araslanov and Roth 2021), the method of source 4's thesis."""
