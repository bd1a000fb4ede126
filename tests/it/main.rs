//! The shipped binary from the outside: real processes, real files, the lab's real protocols.

#[cfg(test)]
mod architecture;
#[cfg(test)]
mod bootstrap;
#[cfg(test)]
mod counts;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod support;
#[cfg(test)]
mod validate;
#[cfg(test)]
mod workflow;
