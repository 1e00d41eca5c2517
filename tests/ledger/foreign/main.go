// Reads a ledger's folder with Go's own transparency log packages, which know nothing of Freehold.
//
//	main FOLDER VERIFIER-KEY [CHECKPOINT-KEPT-FROM-EARLIER]
//	main receipt FILE VERIFIER-KEY
//
// Checks the checkpoint's signature, that the tiles lead to its root, that every entry of the bundles is
// the leaf at its place with a proof of inclusion, and that the log continues the earlier checkpoint. Of a
// receipt (C2SP tlog-proof), that its entry is in the tree that its checkpoint signs; prints the entry.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type folder string

func (f folder) Height() int { return 8 }

// Go spells tile/8/0/000 and tile/8/data/000 what C2SP spells tile/0/000 and tile/entries/000.
func (f folder) path(tile tlog.Tile) string {
	path := strings.TrimPrefix(tile.Path(), "tile/8/")
	return filepath.Join(string(f), "tile", strings.Replace(path, "data/", "entries/", 1))
}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var read [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(f.path(tile))
		if err != nil {
			return nil, err
		}
		read = append(read, data)
	}
	return read, nil
}

func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func main() {
	var err error
	if os.Args[1] == "receipt" {
		err = checkReceipt(os.Args[2], os.Args[3])
	} else {
		err = check(folder(os.Args[1]), os.Args[2], os.Args[3:])
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func checkReceipt(path, key string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, checkpoint, _ := strings.Cut(string(text), "\n\n")
	tree, err := openNote([]byte(checkpoint), key)
	if err != nil {
		return err
	}
	lines := strings.Split(head, "\n")
	if len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("no tlog-proof")
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return err
	}
	fmt.Printf("%s\n", entry)
	return nil
}

func check(log folder, key string, kept []string) error {
	tree, err := open(filepath.Join(string(log), "checkpoint"), key)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, log)
	for _, path := range kept {
		if err := checkGrown(path, key, tree, reader); err != nil {
			return err
		}
	}
	entries, err := checkEntries(log, tree, reader)
	if err != nil {
		return err
	}
	fmt.Printf("%d entries, root %x\n", entries, tree.Hash[:])
	return nil
}

func open(path, key string) (tree tlog.Tree, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return tree, err
	}
	return openNote(text, key)
}

func openNote(text []byte, key string) (tree tlog.Tree, err error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return tree, err
	}
	signed, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(signed.Text, "\n")
	if lines[0] != verifier.Name() {
		return tree, fmt.Errorf("checkpoint of %s", lines[0])
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		return tree, err
	}
	copy(tree.Hash[:], root)
	tree.N, err = strconv.ParseInt(lines[1], 10, 64)
	return tree, err
}

func checkGrown(path, key string, tree tlog.Tree, reader tlog.HashReader) error {
	old, err := open(path, key)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveTree(tree.N, old.N, reader)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
}

func checkEntries(log folder, tree tlog.Tree, reader tlog.HashReader) (int64, error) {
	var at int64
	for at < tree.N {
		width := tree.N - at
		if width > 256 {
			width = 256
		}
		data, err := os.ReadFile(log.path(tlog.Tile{H: 8, L: -1, N: at / 256, W: int(width)}))
		if err != nil {
			return at, err
		}
		for ; width > 0; width-- {
			length := binary.BigEndian.Uint16(data)
			if err := checkEntry(at, data[2:2+length], tree, reader); err != nil {
				return at, err
			}
			data, at = data[2+length:], at+1
		}
	}
	return at, nil
}

func checkEntry(at int64, entry []byte, tree tlog.Tree, reader tlog.HashReader) error {
	proof, err := tlog.ProveRecord(tree.N, at, reader)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, at, tlog.RecordHash(entry)); err != nil {
		return fmt.Errorf("entry %d: %w", at, err)
	}
	return nil
}
