import csv
import io
import os

import pytest

from hwq.errors import DataError
from hwq.report.to_csv import to_csv, write_csv

HEADER = (
    "name,op,m,n,k,count,pe,bits_a,bits_w,bits_acc,dataflow,cycles,compute_cycles,stall_cycles,"
    "utilization,macs,sram_read_bytes,sram_write_bytes,dram_read_bytes,dram_write_bytes,"
    "energy_mac_pj,energy_sram_pj,energy_dram_pj,energy_vector_pj,energy_leakage_pj,"
    "energy_total_pj,saturations,sqnr_db,node_sqnr_db,quantizer_sqnr_db,row_sum_min,row_sum_mean"
)


def test_header_and_one_row_per_layer(result):
    lines = to_csv(result).splitlines()
    assert lines[0] == HEADER
    assert len(lines) == 1 + len(result.layers)


def test_values_are_those_of_the_layers_and_absent_ones_are_empty(result):
    rows = list(csv.DictReader(io.StringIO(to_csv(result))))
    assert [row["name"] for row in rows] == [layer.name for layer in result.layers]
    assert sum(int(row["cycles"]) for row in rows) == result.totals.cycles
    assert float(rows[0]["energy_total_pj"]) == result.layers[0].energy_pj.total
    assert (rows[0]["saturations"], rows[1]["saturations"]) == ("3", "")
    assert (rows[1]["k"], rows[1]["pe"], rows[1]["bits_w"]) == ("", "", "")


def test_it_writes_whole_or_not_at_all(tmp_path, result):
    write_csv(result, tmp_path / "layers.csv")
    assert (tmp_path / "layers.csv").read_text() == to_csv(result)
    with pytest.raises(DataError, match="cannot be written"):
        write_csv(result, tmp_path)
    assert os.listdir(tmp_path) == ["layers.csv"]
