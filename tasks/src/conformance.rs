//! What every kind must bear: see `conforms`.
