//! What a bad file is told.
