/* The table of subcommands. */
#include "cli/commands.h"

#define TABLE(name)                                                                                                    \
    static const parry_options *get_##name(void)                                                                       \
    {                                                                                                                  \
        return &name;                                                                                                  \
    }
TABLE(common_table)
TABLE(data_table)
TABLE(train_command_table)
TABLE(attack_command_table)
TABLE(harden_command_table)
TABLE(evaluate_command_table)
TABLE(info_command_table)
TABLE(fetch_table)
TABLE(help_command_table)
TABLE(demo_table)
TABLE(figure_command_table)
TABLE(noise_command_table)
TABLE(predict_command_table)

const cli_command commands[] = {
    {"train",
     "",
     0,
     0,
     "train a classifier from scratch and write it as ONNX",
     "Trains a network on the training split, scores it on the test split after each\n"
     "epoch and writes it as ONNX. Photographs lie in a folder for each class, or in\n"
     "folders train and val of those; the names of the folders are the classes, and\n"
     "they and the resizing are written into the file.\n\n"
     "  parry train --arch simplecnn --data mnist --epochs 20 -o cnn.onnx\n"
     "  parry train --arch resnet18 --data photos --size 64 --epochs 30 -o r18.onnx",
     {get_train_command_table, parry_train_options, parry_preprocess_options, get_common_table},
     .run = cmd_train},
    {"attack",
     "MODEL [PHOTO...]",
     1,
     CLI_WORDS_MAX,
     "make adversarial images and count how many fool the model",
     "Attacks every image of the data, or the photographs (PNG, JPEG, WebP; files or\n"
     "folders), and reports accuracy before and after; up to ten images are shown one\n"
     "by one, with the classes that the model takes them for. --criterion says when an\n"
     "image counts as adversarial (parry help criteria), --target where it is driven.\n"
     "One NumPy file may stand for the photographs: a .npy of one image, or a .npz of\n"
     "images and labels.\n\n"
     "  parry attack cnn.onnx --data mnist --attack fgsm --eps 0.1 --save-images out\n"
     "  parry attack cnn.onnx --attack pgd --steps 100 --restarts 5 --eps 0.3\n"
     "  parry attack cnn.onnx --attack fgsm --loss mse --no-clip --save adv\n"
     "  parry attack net.onnx photo.jpg --attack fgsm --criterion confident:0.9 \\\n"
     "      --minimal-eps --figure triptych.png\n"
     "  parry attack net.onnx photo.jpg --attack pgd --target volcano -o adv.png",
     {get_attack_command_table, get_data_table, parry_preprocess_options, parry_threat_options, parry_search_options,
      get_common_table},
     .attack_options = true,
     .run = cmd_attack},
    {"harden",
     "MODEL",
     1,
     1,
     "train a model further so that it resists attacks",
     "Hardens a model and writes the result as ONNX. Methods: finetune tunes on\n"
     "adversaries made once; mixed makes half of every batch adversarial against the\n"
     "model as it is; pgd is adversarial training (Madry et al.), from fresh weights\n"
     "unless --keep-weights. Each method has its own defaults for epochs, lr and eps;\n"
     "parry list methods shows them. --precision goes for the search for adversaries\n"
     "and for the training.\n\n"
     "  parry harden cnn.onnx --data mnist --method mixed -o hard.onnx\n"
     "  parry harden r18.onnx --data photos --method mixed --eps 4/255 -o hard.onnx",
     {get_harden_command_table, parry_harden_options, parry_threat_options, parry_train_options,
      parry_preprocess_options, get_common_table},
     .run = cmd_harden},
    {"evaluate",
     "MODEL... [PHOTO...]",
     1,
     CLI_WORDS_MAX,
     "score models under attacks, side by side; table, JSON, HTML report",
     "Scores one or more models, clean and under each attack at each eps, and writes\n"
     "a table, JSON (--json) and one offline HTML report (--report). Without --attack\n"
     "it reports clean accuracy. With --source MODEL, adversaries made against that\n"
     "model (stale ones) are scored beside those made against each model itself.\n"
     "Each model reads photographs at its own size and by its own rule of resizing,\n"
     "which the output states where they differ; --resize and --resize-size set one\n"
     "rule for all. Stale adversaries need models that read alike.\n\n"
     "  parry evaluate cnn.onnx hard.onnx --data mnist --attack fgsm,pgd --eps 0.1 \\\n"
     "      --report report.html --json result.json\n"
     "  parry evaluate cnn.onnx --attack fgsm,pgd:steps=100:first=1000 --eps 0.1,0.3",
     {get_evaluate_command_table, parry_evaluate_options, get_data_table, parry_preprocess_options,
      parry_threat_options, get_common_table},
     .run = cmd_evaluate},
    {"predict",
     "MODEL [PHOTO...]",
     1,
     CLI_WORDS_MAX,
     "what a model calls images, and how sure it is",
     "Prints the most probable classes of each image of the data or each photograph\n"
     "(PNG, JPEG, WebP; files or folders), and where labels are known how many are\n"
     "right. One NumPy file may stand for the photographs: a .npy of one image, or a\n"
     ".npz of images and labels.\n\n"
     "  parry predict net.onnx photo.jpg --top 5\n"
     "  parry predict cnn.onnx --data mnist --show 0 --csv predictions.csv",
     {get_predict_command_table, get_data_table, parry_preprocess_options, get_common_table},
     .run = cmd_predict},
    {"figure",
     "PHOTO ADVERSARY",
     2,
     2,
     "a picture of an image, its adversary and the difference, magnified",
     "Draws an image, the magnified difference and the adversary side by side, with\n"
     "what the difference costs, and writes a PNG. A photograph that is larger than\n"
     "the adversary is resized and cropped as the adversary was.\n\n"
     "  parry figure photo.jpg adv.png --magnify 300 --model net.onnx -o triptych.png",
     {get_figure_command_table, parry_preprocess_options, get_common_table},
     .run = cmd_figure},
    {"noise",
     "MODEL...",
     1,
     CLI_MODELS_MAX,
     "what networks see in pure noise, and in noise under attack",
     "Makes images of Gaussian noise over pairs of mean and standard deviation, and\n"
     "reports what each network calls them and how sure it is; with --attack, also\n"
     "after an attack away from that class (--criterion confident:0.9 unless given).\n\n"
     "  parry noise net.onnx --mu 50:200:10 --sigma 10:100:2 --pairs zip \\\n"
     "      --csv noise.csv --figure noise.png\n"
     "  parry noise a.onnx b.onnx --attack pgd --eps 4/255 --figure adversarial.png\n"
     "  parry noise net.onnx --class 'mountain tent'",
     {get_noise_command_table, parry_noise_options, parry_preprocess_options, parry_threat_options, get_common_table},
     .attack_options = true,
     .run = cmd_noise},
    {"info",
     "MODEL",
     1,
     1,
     "what a model file is; its execution plan or graph",
     "Describes a model: input, classes, parameters, how it was trained.\n\n"
     "  parry info cnn.onnx\n"
     "  parry info cnn.onnx --plan gradient",
     {get_info_command_table, parry_preprocess_options, get_common_table},
     .run = cmd_info},
    {"data",
     "list | info NAME | fetch NAME",
     1,
     2,
     "list, describe and download datasets, and download trained networks",
     "  parry data list            the known datasets and whether they are here\n"
     "  parry data info mnist      what a dataset is and where it was found\n"
     "  parry data fetch mnist     download it into the cache, checked by SHA-256\n"
     "  parry data fetch resnet50  the same for a network, with its preprocessing beside it",
     {get_fetch_table},
     .run = cmd_data},
    {"list",
     "attacks|architectures|datasets|losses|methods|presets",
     1,
     1,
     "list attacks, architectures, datasets, losses, methods or presets",
     "Lists what there is of a kind; presets are of preprocessing.\n\n"
     "  parry list attacks",
     {NULL},
     .run = cmd_list},
    {"help",
     "[COMMAND | ATTACK]",
     0,
     1,
     "show the options of a command or an attack",
     "Shows help.\n\n  parry help pgd",
     {get_help_command_table},
     .run = cmd_help},
    {"demo",
     "",
     0,
     0,
     "the whole story on MNIST: train, break, harden, measure; one report",
     "Trains a small network, attacks it, hardens it in three ways, measures what each\n"
     "hardening is worth against fresh adversaries, and writes report.html. Every step\n"
     "is printed as the command that does it. Uses MNIST where it is found or can be\n"
     "downloaded, else built-in digits.\n\n"
     "  parry demo -o demo",
     {get_demo_table, get_common_table},
     .run = cmd_demo},
};
const size_t command_count = sizeof commands / sizeof commands[0];
