//! How the shared library is linked: the name by which programs find it, and that it stays.

/// Programs keep running with every library of the same number: `FW_ABI_VERSION` of the header.
const ABI_VERSION: u32 = 0;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libfarwatch.so.{ABI_VERSION}");
    // A thread of the library may still be on its way out when the program lets go of it.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rustc-env=FARWATCH_ABI_VERSION={ABI_VERSION}");
}
