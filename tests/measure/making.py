"""Parts of tests: a recipe whose variants count as built, though there is no model."""

from ovrecipe.recipe.project import Project

POSITIONS = 1000


def make_tiny(project: Project, *, model: str = "./checkpoint") -> None:
    """Write the recipe `tiny`, and let int8 and int4 of its three variants lead to folders."""
    text = f"model: {{id: {model}}}\nvariants: {{int8: {{}}, int4: {{}}, fp16: {{}}}}\n"
    (project.recipes_dir / "tiny.yaml").write_text(text)
    for variant in ("int8", "int4"):
        artifact_dir = project.store_dir / "assemble" / f"{variant}-key"
        artifact_dir.mkdir(parents=True)
        (artifact_dir / "config.json").write_text(f'{{"max_position_embeddings": {POSITIONS}}}')
        view = project.models_dir / "tiny" / variant
        view.parent.mkdir(parents=True, exist_ok=True)
        view.symlink_to(artifact_dir)
