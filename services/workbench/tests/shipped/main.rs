//! The mappings that are shipped, at the workbench.

mod mappings;
