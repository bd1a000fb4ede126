//! Tests of loading, as a user meets it: whole files in, whole reports out.

mod broken;
mod inputs;
mod kinds;
mod loading;
mod selecting;
