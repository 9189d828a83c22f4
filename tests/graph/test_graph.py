"""The cell-feature graph: operators, batch features, feature-feature edges, sampling."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from scmobench.data.genesets import gene_set_file, read_gmt
from scmobench.graph.batch_features import batch_features, cell_statistics
from scmobench.graph.cell_feature import CellFeatureGraph
from scmobench.graph.operator import compressed_pair
from scmobench.graph.pathway import coexpression_edges, gene_set_edges, table_edges
from scmobench.nn.sparse import DenseOperator, SparseOperator

SETS = {"one": ("A", "B", "absent"), "two": ("a", "C", "B"), "alone": ("D",)}
NAMES = ["A", "B", "C", "D"]


def random_matrix(cells=40, features=30, density=0.2, seed=0):
    rng = np.random.default_rng(seed)
    return sp.random(cells, features, density, "csr", np.float32, rng, rng.standard_normal)


def untiled(starts, indices, data, shape, tile):
    """The matrix whose tiles these are."""
    starts, indices, data = (tensor.numpy() for tensor in (starts, indices, data))
    ends = np.r_[0, starts[:, -1].cumsum(0)]
    widths = [min(tile, shape[1] - tile * k) for k in range(len(starts))]
    parts = [slice(a, b) for a, b in pairwise(ends)]
    blocks = [
        sp.csr_matrix((data[part], indices[part], start), (shape[0], width))
        for part, start, width in zip(parts, starts, widths, strict=True)
    ]
    return sp.hstack(blocks, format="csr")


@pytest.mark.parametrize("tile", [7, 10, 15, 20])  # a narrow last tile, none, A whole, both whole
def test_tiles_are_the_matrix_and_its_transpose(tile):
    matrix = random_matrix()
    matrix.data[matrix.indices // 7 == 1] = 0  # nothing in the second tile
    matrix.eliminate_zeros()
    pair = compressed_pair(matrix, tile, reads=0)
    assert (len(pair.indptr), len(pair.t_indptr)) == {7: (5, 6), 10: (3, 4), 15: (1, 3), 20: (1, 1)}[tile]
    t_values = pair.values[pair.t_order.long()]
    forth = untiled(pair.indptr, pair.indices, pair.values, matrix.shape, pair.tile)
    back = untiled(pair.t_indptr, pair.t_indices, t_values, matrix.shape[::-1], pair.t_tile)
    assert (forth != matrix).nnz == (back != matrix.T).nnz == 0
    assert {getattr(pair, name).dtype for name in pair._fields[:6] if name != "values"} == {torch.int32}


@pytest.mark.parametrize("tile", [7, 15])
def test_product_by_tiles_is_the_product(tile):
    matrix = random_matrix()
    whole, tiled = (SparseOperator(compressed_pair(matrix, t, reads=0)).double() for t in (2048, tile))
    rows, columns, values = tiled.edges()
    assert (sp.csr_matrix((values, (rows, columns)), matrix.shape) != matrix).nnz == 0
    kept = tiled.draw(0.4)
    masked = np.zeros(matrix.shape)
    masked[rows[kept], columns[kept]] = values[kept]
    for transpose, n in ((False, 30), (True, 40)):
        x = torch.randn(n, 3, dtype=torch.float64)
        torch.testing.assert_close(tiled(x, transpose), whole(x, transpose))
        expected = (masked.T if transpose else masked) @ x.numpy()
        np.testing.assert_allclose(tiled(x, transpose, kept), expected, atol=1e-12)
    for name in ("row_counts", "column_counts"):
        assert torch.equal(getattr(tiled, name), getattr(whole, name))


def test_few_entries_a_column_are_not_worth_tiles():
    assert len(compressed_pair(random_matrix(), 7, reads=40 * 0.2 + 1).indptr) == 1
    assert len(compressed_pair(random_matrix(), 7, reads=40 * 0.2 - 1).indptr) == 5


def test_duplicate_entries_are_one_edge():
    twice = sp.csr_matrix((np.ones(3, np.float32), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
    pair = compressed_pair(twice)
    assert pair.values.tolist() == [2, 1]
    assert twice.nnz == 3


def by_cell(row):
    row = row.astype(np.float64)
    values = row[row != 0]
    if len(values) == 0:
        return np.zeros(9)
    quartiles = np.percentile(values, [25, 50, 75])
    most = [row.max(), len(values) / 1000, values.mean(), values.std()]
    return np.array([row.mean(), row.std(), *quartiles, *most])


def test_cell_statistics_are_those_of_a_loop_over_cells(monkeypatch):
    matrix = random_matrix(60, 50, 0.3).tolil()
    matrix[7] = 0
    matrix[8] = np.arange(1, 51)
    matrix[9] = 0
    matrix[9, 3] = 5.0
    matrix[10] = np.repeat([2.0, -1.0, 3.0, 2.0, 0.0], 10)  # ties, negative values
    matrix[11] = -np.arange(1, 51)  # no zero, none positive
    matrix = matrix.tocsr()
    matrix.data[matrix.indptr[12] : matrix.indptr[12] + 2] = 0  # zeros that are stored
    expected = np.array([by_cell(row) for row in matrix.toarray()])
    found = cell_statistics(matrix)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found[:, 2:5], expected[:, 2:5])
    monkeypatch.setattr("scmobench.graph.batch_features.CHUNK", 20)
    np.testing.assert_array_equal(cell_statistics(matrix), found)


def test_batch_features_are_batch_means_in_any_order_of_cells():
    matrix = random_matrix(12)
    batches = np.array(list("abcabcabcaaa"))
    found = batch_features(matrix, batches)
    mean = cell_statistics(matrix)[batches == "b"].mean(0)
    np.testing.assert_allclose(found[batches == "b"], np.tile(mean, (3, 1)), rtol=1e-6)
    order = np.random.default_rng(1).permutation(12)
    np.testing.assert_allclose(batch_features(matrix[order], batches[order]), found[order], rtol=1e-6)


def test_gene_set_edges_join_all_ordered_pairs_once():
    X = random_matrix(30, 4, 0.8)
    edges = gene_set_edges(X, NAMES, SETS, weight="one").toarray()
    np.testing.assert_array_equal(edges, [[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("weight", ["cosine", "pearson"])
def test_gene_set_weights_are_similarities_of_columns(weight):
    X = random_matrix(30, 4, 0.8)
    dense = X.toarray().astype(np.float64)
    if weight == "pearson":
        expected = np.corrcoef(dense.T)
    else:
        unit = dense / np.linalg.norm(dense, axis=0)
        expected = unit.T @ unit
    edges = gene_set_edges(X, NAMES, SETS, weight=weight)
    rows, cols = edges.nonzero()
    assert len(rows) == 6
    np.testing.assert_allclose(edges.data, expected[rows, cols], atol=1e-6)
    bound = float(np.median(np.abs(edges.data)))
    kept = gene_set_edges(X, NAMES, SETS, weight=weight, threshold=bound)
    assert 0 < kept.nnz < 6
    assert np.abs(kept.data).min() > bound


@pytest.mark.parametrize(("weight", "edges"), [("one", 6), ("cosine", 2), ("pearson", 0)])
def test_genes_whose_similarity_is_not_defined_have_no_edges(weight, edges):
    """The published code drops them as NaN. A is expressed, B silent, D the same in all cells."""
    X = sp.csr_matrix(np.array([[1, 0, 2, 1], [2, 0, 1, 1]], np.float32))
    found = gene_set_edges(X, NAMES, {"s": "ABD"}, weight=weight)
    assert found.nnz == edges
    if weight == "cosine":
        assert found[0, 3] > 0


def test_genes_that_never_meet_keep_an_edge_of_weight_zero_and_lose_it_to_any_threshold():
    X = sp.csr_matrix(np.array([[1, 0], [0, 1]], np.float32))
    edges = gene_set_edges(X, ["A", "B"], {"s": "AB"})
    assert edges.nnz == 2
    assert not edges.data.any()
    assert gene_set_edges(X, ["A", "B"], {"s": "AB"}, threshold=0).nnz == 0


def test_a_threshold_is_of_the_size_of_a_weight():
    """Genes that avoid each other are an edge as strong as genes that go together."""
    X = sp.csr_matrix(np.array([[3, 0, 1], [0, 3, 1], [3, 0, 2], [0, 3, 2]], np.float32))
    kept = gene_set_edges(X, list("ABC"), {"s": list("ABC")}, weight="pearson", threshold=0.5)
    assert kept.nnz == 2
    assert kept[0, 1] == kept[1, 0] < -0.99


def test_coexpression_finds_planted_partners(monkeypatch):
    rng = np.random.default_rng(0)
    programs = rng.gamma(1, 1, (200, 5))
    X = sp.csr_matrix((programs.repeat(4, axis=1) + 0.1 * rng.random((200, 20))).astype(np.float32))
    for weight in ("cosine", "pearson"):
        edges = coexpression_edges(X, neighbours=3, weight=weight).tocoo()
        assert edges.nnz >= 60
        assert (edges.row // 4 == edges.col // 4).mean() > 0.95
        assert (edges != edges.T).nnz == 0
    monkeypatch.setattr("scmobench.graph.pathway.MOST_CELLS", 50)
    few = [coexpression_edges(X, neighbours=3, seed=s) for s in (1, 1, 2)]
    assert (few[0] != few[1]).nnz == 0
    assert (few[0] != few[2]).nnz > 0


def test_edges_of_a_table(tmp_path):
    path = tmp_path / "links.tsv"
    path.write_text("feature_a\tfeature_b\tweight\nA\tC\t0.5\nB\tnone\t1\nD\tD\t1\n")
    edges = table_edges(path, NAMES).toarray()
    assert edges[0, 2] == edges[2, 0] == 0.5
    assert edges.sum() == 1
    # two with one partner outside of the input, as peaks that are linked to one gene
    path.write_text("feature_a\tfeature_b\tweight\nA\tGene1\t0.5\nGene1\tC\t2\nB\tGene2\t1\nA\tB\t3\n")
    edges = table_edges(path, NAMES).toarray()
    assert edges[0, 2] == edges[2, 0] == 1
    assert edges[0, 1] == edges[1, 0] == 3
    assert edges.sum() == 8
    path.write_text("feature_a\tfeature_b\tweight\nA\tGene1\t0.5\nB\tGene2\t1\n")
    with pytest.raises(
        ValueError, match=r"pairs of the input's features \(A, B, C, …\).*found neither in its 2 rows"
    ):
        table_edges(path, NAMES)
    path.write_text("a\tb\nA\tC\n")
    with pytest.raises(ValueError, match="expected columns feature_a"):
        table_edges(path, NAMES)


def test_gmt_is_read_and_refused(tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text("S1\tabout\tA\tB\tA\n\nS2\tabout\tC\n")
    assert read_gmt(path) == {"S1": ("A", "B"), "S2": ("C",)}
    path.write_text("S1\tabout\n")
    with pytest.raises(ValueError, match="line 1"):
        read_gmt(path)
    path.write_text("S1\tx\tA\nS1\tx\tB\n")
    with pytest.raises(ValueError, match="again in line 2"):
        read_gmt(path)
    with pytest.raises(FileNotFoundError, match="give its path"):
        read_gmt(tmp_path / "none.gmt")
    path.write_text("\n")
    with pytest.raises(ValueError, match="found an empty file"):
        read_gmt(path)


def test_hallmark_sets_without_a_network_say_what_to_do(monkeypatch, tmp_path):
    def offline(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("pooch.retrieve", offline)
    monkeypatch.setenv("SCMOBENCH_DATA", str(tmp_path))
    with pytest.raises(OSError, match=r"no route\): put h\.all.* or name a file in place of hallmark"):
        gene_set_file("hallmark")
    (tmp_path / "pathways").mkdir()
    (tmp_path / "pathways" / "h.all.v7.4.symbols.gmt").write_text("MINE\tof mine\tCD3E\tCD4\n")
    with pytest.raises(ValueError, match=r"hallmark sets of version 7\.4 .* found another file"):
        gene_set_file("hallmark")


def test_hallmark_sets_of_the_published_runs(data_dir, monkeypatch):
    monkeypatch.setenv("SCMOBENCH_DATA", str(data_dir))
    file = gene_set_file("hallmark")
    assert file == data_dir / "pathways" / "h.all.v7.4.symbols.gmt"
    sets = read_gmt(file)
    assert len(sets) == 50
    assert {"JUNB", "CXCL2"} <= set(sets["HALLMARK_TNFA_SIGNALING_VIA_NFKB"])


def test_explicit_zeros_are_no_edges():
    stored = sp.csr_matrix((np.array([1, 0], np.float32), ([0, 1], [0, 1])), shape=(2, 2))
    assert CellFeatureGraph.build(stored).matrix.nnz == 1


def test_operator_follows_how_filled_the_matrix_is():
    sparse, full = random_matrix(density=0.1), random_matrix(density=0.9)
    assert isinstance(CellFeatureGraph.build(sparse).tensors().matrix, SparseOperator)
    assert isinstance(CellFeatureGraph.build(full).tensors().matrix, DenseOperator)


def test_sample_is_the_graph_among_the_chosen():
    matrix, pathway = random_matrix(10, 8), abs(random_matrix(8, 8, seed=2))
    graph = CellFeatureGraph.build(matrix, pathway=pathway, batches=np.arange(10))
    cells, features = np.array([7, 2, 4]), np.array([1, 5, 6])
    part = graph.sample(cells, features)
    np.testing.assert_array_equal(part.matrix.toarray(), matrix.toarray()[np.ix_(cells, features)])
    np.testing.assert_array_equal(part.pathway.toarray(), pathway.toarray()[np.ix_(features, features)])
    np.testing.assert_array_equal(part.batch_features, graph.batch_features[cells])
    np.testing.assert_array_equal(part.features, features)
