"""Makes the files of this folder and what netCDF4-python reads from them: python make.py (netCDF4 1.7.5, NumPy 2).

Numeric variables with every way to say "missing" and to pack; beside them, in the netCDF-4 file, variables of types that
hold no numbers, with fill values and attributes of those types.
"""
import json
import math
import os

import netCDF4 as nc
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
# name: type, fill value, attributes, stored numbers
CASES = {
    "plain": ("f8", None, {}, [1.5, -2.5, nc.default_fillvals["f8"], 1e20]),
    "plain_f4": ("f4", None, {}, [1.5, -2.5, nc.default_fillvals["f4"], 1e20]),
    "fill": ("f8", -1.0, {}, [-1.0, 2.0, nc.default_fillvals["f8"], 4.0]),
    "both": ("f8", 9.969209968386869e36, {"missing_value": 1e20}, [1.0, 9.969209968386869e36, 1e20, 4.0]),
    "both_f4": ("f4", np.float32(-1), {"missing_value": np.float32(1e20)}, [-1.0, 1e20, 3.0, 4.0]),
    "wide_marker": ("f4", None, {"missing_value": 1e20}, [1e20, 2.0, 3.0, 4.0]),
    "several": ("f8", None, {"missing_value": np.array([-999.0, 1e20, -1.0])}, [-999.0, 1e20, -1.0, 4.0]),
    "nan_marker": ("f8", math.nan, {"missing_value": 7.0}, [math.nan, 7.0, 3.0, 4.0]),
    "int_f8_marker": ("i2", np.int16(-5), {"missing_value": -999.0}, [-5, -999, 3, -32767]),
    "int_no_marker": ("i4", None, {}, [-2147483647, 2, 3, 4]),
    "bytes": ("i1", None, {}, [-127, 2, 3, 4]),
    "unit_packing": ("f8", None, {"scale_factor": 1.0, "add_offset": 0.0}, [1.0, 2.0, 3.0, 4.0]),
    "packed": ("i2", np.int16(-32768), {"scale_factor": 0.01, "add_offset": 273.15, "missing_value": np.int16(-1)}, [-32768, -1, 100, -200]),
    "packed_int": ("i4", None, {"scale_factor": np.float64(2.0), "valid_min": np.int32(0), "valid_max": np.int32(9)}, [-1, 0, 9, 10]),
    "ranged": ("f8", None, {"valid_range": np.array([0.0, 10.0])}, [-0.5, 0.0, 10.0, 11.0]),
    "offset": ("f8", None, {"add_offset": np.float64(100.0)}, [1.0, 2.0, 3.0, 4.0]),
    "unsigned": ("i1", np.int8(-1), {"_Unsigned": "true"}, [-1, -2, 3, 4]),
    "as_text": ("f8", None, {"missing_value": "none"}, [1.0, 2.0, 3.0, 4.0]),
}


def write(path, fmt):
    with nc.Dataset(path, "w", format=fmt) as f:
        f.createDimension("n", 4)
        f.set_auto_maskandscale(False)
        for name, (kind, fill, attributes, stored) in CASES.items():
            v = f.createVariable(name, kind, ("n",), fill_value=fill)
            v.set_auto_maskandscale(False)
            for key, value in attributes.items():
                v.setncattr(key, value)
            v[:] = np.array(stored, kind)
        if fmt == "NETCDF4":
            odd(f)


def odd(f):
    flag = f.createEnumType(np.uint8, "flag", {"no": 0, "yes": 1})
    f.createVariable("an_enum", flag, ("n",), fill_value=0)[:] = 1
    pair = np.dtype([("a", "i4"), ("b", "f8")])
    kind = f.createCompoundType(pair, "pair")
    v = f.createVariable("a_compound", kind, ("n",))
    v[:] = np.zeros(4, pair)
    v.setncattr("range", np.zeros(1, pair))
    v = f.createVariable("a_string", str, ("n",), fill_value="-")
    v[:] = np.array(["a", "b", "c", "d"], object)
    many = f.createVLType(np.int32, "many")
    v = f.createVariable("a_list", many, ("n",))
    for i in range(4):
        v[i] = np.arange(i + 1, dtype=np.int32)
    f.createVariable("some_text", "S1", ("n",), fill_value=b"x")[:] = np.array(list("abcd"), "S1")
    f.createVariable("a_packed_one", "i2", ("n",), zlib=True).scale_factor = "not a number"
    f.createDimension("huge", 1 << 40)
    f.createVariable("never_written", "f8", ("huge",), chunksizes=(1 << 20,))
    f.createGroup("other").createDimension("n", 9)


def read(path):
    with nc.Dataset(path) as f:
        found = {}
        for name in CASES:
            values = np.ma.filled(np.ma.asarray(f[name][:]).astype("f8"), math.nan)
            found[name] = [None if math.isnan(x) else float(x) for x in values]
        return found


expected = {}
for file, fmt in (("library4.nc", "NETCDF4"), ("library3.nc", "NETCDF3_64BIT_OFFSET"), ("library5.nc", "NETCDF3_64BIT_DATA")):
    write(os.path.join(HERE, file), fmt)
    expected[file] = read(os.path.join(HERE, file))
with open(os.path.join(HERE, "expected.json"), "w") as out:
    out.write("{\n" + ",\n".join(f'"{f}": {{\n' + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in x.items()) + "\n}" for f, x in expected.items()) + "\n}\n")
