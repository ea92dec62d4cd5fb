"""What specs that were written for MLTK call while they load data and build models, by MLTK's signatures."""
