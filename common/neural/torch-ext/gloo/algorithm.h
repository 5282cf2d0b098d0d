// Gloo's headers are not in the libtorch wheel, and its types are only named in the header of c10d's Gloo backend: the
// shim never looks into one. These declarations are all that header needs; Gloo itself is inside libtorch_cpu.
#pragma once
