"""Given names that at least 3 in 10,000 people of the United States had in 1990: its Census Bureau's lists of names."""

_NAMES = """
Aaron Abraham Ada Adam Adrian Adrienne Agnes Alan Albert Alberta Alberto Alejandro Alex Alexander Alexandra Alexis
Alfonso Alfred Alfredo Alice Alicia Alison Allan Allen Allison Alma Alton Alvin Alyssa Amanda Amber Amelia Amy Ana
Andre Andrea Andres Andrew Andy Angel Angela Angelica Angelina Angelo Angie Anita Ann Anna Anne Annette Annie Anthony
Antoinette Antonia Antonio April Archie Arlene Armando Arnold Arthur Arturo Ashley Audrey Austin Barbara Barry
Beatrice Becky Belinda Ben Benjamin Bennie Benny Bernadette Bernard Bernice Bertha Bessie Beth Bethany Betsy Betty
Beulah Beverly Bill Billie Billy Blake Blanca Blanche Bob Bobbie Bobby Bonnie Brad Bradley Brandi Brandon Brandy
Brenda Brent Brett Brian Bridget Brittany Brooke Bruce Bryan Byron Calvin Cameron Candace Candice Carl Carla Carlos
Carlton Carmen Carol Carole Caroline Carolyn Carrie Casey Cassandra Catherine Cathy Cecelia Cecil Cecilia Celia Cesar
Chad Charlene Charles Charlie Charlotte Chelsea Cheryl Chester Chris Christian Christie Christina Christine
Christopher Christy Cindy Claire Clara Clarence Claude Claudia Clayton Clifford Clifton Clinton Clyde Cody Colin
Colleen Connie Constance Cora Corey Cory Courtney Craig Cristina Crystal Curtis Cynthia Daisy Dale Damon Dan Dana
Daniel Danielle Danny Darlene Darrell Darren Darryl Daryl Dave David Dawn Dean Deanna Debbie Deborah Debra Delbert
Della Delores Denise Dennis Derek Derrick Desiree Diana Diane Dianna Dianne Dolores Dominic Don Donald Donna Donnie
Dora Doreen Doris Dorothy Doug Douglas Duane Dustin Dwayne Dwight Earl Earnest Ed Eddie Edgar Edith Edmund Edna
Eduardo Edward Edwin Eileen Elaine Eleanor Elena Elizabeth Ella Ellen Elmer Eloise Elsie Emily Emma Enrique Eric Erica
Erik Erika Erin Erma Ernest Ernestine Ernesto Estelle Esther Ethel Eugene Eula Eunice Eva Evan Evelyn Everett Fannie
Faye Felicia Felipe Felix Fernando Flora Florence Floyd Frances Francis Francisco Frank Franklin Fred Freda Freddie
Frederick Fredrick Gabriel Gail Garry Gary Gayle Gene Geneva Genevieve Geoffrey George Georgia Gerald Geraldine Gerard
Gerardo Gertrude Gilbert Gina Ginger Gladys Glen Glenda Glenn Gloria Gordon Grace Grant Greg Gregory Gretchen
Guadalupe Guillermo Guy Gwen Gwendolyn Hannah Harold Harriet Harry Harvey Hattie Hazel Heather Hector Heidi Helen
Henrietta Henry Herbert Herman Hilda Holly Homer Hope Horace Howard Hubert Hugh Ian Ida Inez Ira Irene Iris Irma Isaac
Isabel Ivan Jack Jackie Jacob Jacqueline Jacquelyn Jaime James Jamie Jan Jana Jane Janet Janice Janie Janis Jared
Jasmine Jason Javier Jay Jean Jeanette Jeanne Jeannette Jeff Jeffery Jeffrey Jenna Jennie Jennifer Jenny Jeremiah
Jeremy Jerome Jerry Jesse Jessica Jessie Jesus Jill Jim Jimmie Jimmy Jo Joan Joann Joanna Joanne Jodi Jody Joe Joel
Joey John Johnathan Johnnie Johnny Jon Jonathan Jonathon Jordan Jorge Jose Joseph Josephine Joshua Joy Joyce Juan
Juana Juanita Judith Judy Julia Julian Julie Julio Julius June Justin Kara Karen Kari Karl Karla Katherine Kathleen
Kathryn Kathy Katie Katrina Kay Kayla Keith Kelley Kelli Kelly Kelvin Ken Kendra Kenneth Kenny Kent Kerry Kevin Kim
Kimberly Kirk Krista Kristen Kristi Kristin Kristina Kristine Kristy Krystal Kurt Kyle Lance Larry Latoya Laura Lauren
Laurie Laverne Lawrence Leah Lee Leigh Lena Leo Leon Leona Leonard Leroy Leslie Lester Leticia Lewis Lillian Lillie
Linda Lindsay Lindsey Lisa Lloyd Lois Lola Lonnie Lora Loren Lorenzo Loretta Lori Lorraine Louis Louise Lucas Lucille
Lucy Luis Luke Lula Luther Luz Lydia Lyle Lynda Lynette Lynn Lynne Mabel Mable Madeline Mae Maggie Malcolm Mamie
Manuel Marc Marcella Marcia Marco Marcus Margaret Margarita Margie Marguerite Maria Marian Marianne Marie Marilyn
Mario Marion Marjorie Mark Marlene Marsha Marshall Martha Martin Marvin Mary Maryann Mathew Matt Matthew Mattie
Maureen Maurice Max Maxine Megan Meghan Melanie Melinda Melissa Melody Melvin Mercedes Meredith Michael Micheal
Michele Michelle Miguel Mike Mildred Milton Minnie Miriam Misty Mitchell Molly Mona Monica Monique Morris Muriel Myra
Myron Myrtle Nadine Nancy Naomi Natalie Natasha Nathan Nathaniel Neal Neil Nellie Nelson Nicholas Nichole Nick Nicole
Nina Noel Nora Norma Norman Olga Olive Oliver Olivia Omar Opal Orlando Oscar Otis Pablo Pam Pamela Pat Patricia
Patrick Patsy Patty Paul Paula Paulette Pauline Pearl Pedro Peggy Penny Perry Pete Peter Philip Phillip Phyllis
Preston Priscilla Rachael Rachel Rafael Ralph Ramon Ramona Randall Randolph Randy Raquel Raul Ray Raymond Rebecca
Regina Reginald Rene Renee Rex Rhonda Ricardo Richard Rick Rickey Ricky Rita Robert Roberta Roberto Robin Robyn
Rochelle Roderick Rodney Rodolfo Roger Roland Ron Ronald Ronnie Rosa Rosalie Rose Rosemarie Rosemary Rosie Ross
Roxanne Roy Ruben Ruby Rudolph Rudy Russell Ruth Ryan Sabrina Sadie Sally Salvador Sam Samantha Samuel Sandra Sandy
Sara Sarah Scott Sean Sergio Seth Shane Shannon Sharon Shaun Shawn Sheila Shelia Shelley Shelly Sheri Sherri Sherry
Sheryl Shirley Sidney Sonia Sonya Sophia Spencer Stacey Stacy Stanley Stella Stephanie Stephen Steve Steven Stuart Sue
Susan Susie Suzanne Sylvia Tamara Tammy Tanya Tara Tasha Ted Teresa Teri Terrance Terrence Terri Terry Thelma Theodore
Theresa Thomas Tiffany Tim Timothy Tina Todd Tom Tommy Toni Tony Tonya Tracey Traci Tracy Travis Trevor Tricia Troy
Tyler Tyrone Valerie Vanessa Velma Vera Verna Vernon Veronica Vicki Vickie Vicky Victor Victoria Vincent Viola Violet
Virgil Virginia Vivian Wade Wallace Walter Wanda Warren Wayne Wendell Wendy Wesley Whitney Wilbur Willard William
Willie Willis Wilma Wm Yolanda Yvette Yvonne Zachary"""
GIVEN_NAMES = frozenset(_NAMES.split())
