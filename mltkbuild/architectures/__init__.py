"""Networks for small devices, as MLTK's `mltk.models.shared` names them: layers and parameter counts are the same."""
