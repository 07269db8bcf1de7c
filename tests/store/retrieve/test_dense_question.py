"""Reading by meaning alone: the question as it was asked."""

import numpy as np

import remanence.store as store


class Letters:
    name, dimension = "letters", 26

    def encode(self, texts):
        counts = np.array([[text.lower().count(chr(97 + k)) for k in range(26)] for text in texts], dtype=np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def test_a_speakers_name_in_the_question_counts_for_its_meaning(tmp_path):
    texts = {"Zuzu": "Zuzu: I live in a flat.", "Bob": "Bob: I live in a flat."}
    with store.open(tmp_path / "memory.db", encoder=Letters()) as memory:
        for speaker, text in texts.items():
            memory.write(text, speaker=speaker)
        for speaker, text in texts.items():
            question = f"Where does {speaker} live?"
            first = memory.read(question, k=1, mode="dense")[0]
            assert first.text == text
            asked, said = Letters().encode([question, text])
            assert abs(first.score - float(asked @ said)) < 1e-3
